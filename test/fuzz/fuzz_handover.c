/*
 * What comes over the socket by which one process of the proxy takes over from another.
 *
 * Checked beside the absence of crashes: what is accepted is within its limits, and is written
 * again as the same bytes.
 */
#include "fuzz.h"
#include "proxy/handover.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sv packet = sv_from((const char *)data, size);
    struct handover message;
    char bytes[HANDOVER_PACKET_MAX];
    struct buffer buffer;
    if (!handover_read(packet, &message))
        return 0;
    FUZZ_CHECK(message.count <= HANDOVER_SOCKETS_MAX);
    FUZZ_CHECK(message.text_size <= sizeof message.text);
    buffer_init(&buffer, bytes, sizeof bytes);
    FUZZ_CHECK(handover_write(&message, &buffer));
    struct sv again = buffer_view(&buffer);
    /* Any byte but 0 says that it is the last packet. */
    if (message.kind == HANDOVER_SOCKETS)
        FUZZ_CHECK(again.size == packet.size &&
                   sv_eq(sv_take(again, size - 1), sv_take(packet, size - 1)));
    else
        FUZZ_CHECK(sv_eq(again, packet));
    return 0;
}
