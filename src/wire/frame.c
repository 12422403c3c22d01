#include "wire/frame.h"

#include "base/bug.h"
#include "wire/bytes.h"

enum frame_error {
    FRAME_ERROR_NONE,
    FRAME_ERROR_TYPE,   /* no such message */
    FRAME_ERROR_PHASE,  /* not now */
    FRAME_ERROR_LENGTH, /* outside the bounds of its type */
};

enum {
    LOGIN = FRAME_LOGIN,
    SESSION = FRAME_SESSION,
    EVER = FRAME_LOGIN | FRAME_SESSION,
    TYPES = 128, /* all types are ASCII */
};

/*
 * The messages of PostgreSQL's protocol 3.0 to 3.2 (section "Message Formats" of its
 * documentation).
 *
 * The least length is that of the message with empty texts and no parameters. The limit for what a
 * client may send is the server's own, but for the messages of a login: there PostgreSQL allows
 * 65535 bytes for the tickets of GSSAPI and SSPI, which are not spoken here, and before a login
 * nobody gets more room than a startup packet does.
 *
 * Messages of fixed size are held to it. A server that gets a Sync with a body answers with an
 * error and goes on; here that ends the connection, since no client that works sends one.
 */
static const struct frame_type frontend_types[TYPES] = {
    ['B'] = {"Bind", 12, FRAME_LARGE_MAX, SESSION},
    ['C'] = {"Close", 6, FRAME_SMALL_MAX, SESSION},
    ['D'] = {"Describe", 6, FRAME_SMALL_MAX, SESSION},
    ['E'] = {"Execute", 9, FRAME_SMALL_MAX, SESSION},
    ['F'] = {"FunctionCall", 14, FRAME_LARGE_MAX, SESSION},
    ['H'] = {"Flush", 4, 4, SESSION},
    ['P'] = {"Parse", 8, FRAME_LARGE_MAX, SESSION},
    ['Q'] = {"Query", 5, FRAME_LARGE_MAX, SESSION},
    ['S'] = {"Sync", 4, 4, SESSION},
    ['X'] = {"Terminate", 4, FRAME_SMALL_MAX, EVER},
    ['c'] = {"CopyDone", 4, FRAME_SMALL_MAX, SESSION},
    ['d'] = {"CopyData", 4, FRAME_LARGE_MAX, SESSION},
    ['f'] = {"CopyFail", 5, FRAME_SMALL_MAX, SESSION},
    ['p'] = {"PasswordMessage", 4, FRAME_SMALL_MAX, LOGIN},
};

/*
 * ParameterDescription may be longer than libpq accepts: other drivers send more than the 7498
 * parameters that fit into 30000 bytes, and get them described. A server's strings end at 1 GB
 * (MaxAllocSize), and so do its messages, but for the length word that is not part of the string.
 */
static const struct frame_type backend_types[TYPES] = {
    ['1'] = {"ParseComplete", 4, 4, SESSION},
    ['2'] = {"BindComplete", 4, 4, SESSION},
    ['3'] = {"CloseComplete", 4, 4, SESSION},
    ['A'] = {"NotificationResponse", 10, FRAME_REPLY_MAX, SESSION},
    ['C'] = {"CommandComplete", 5, FRAME_REPLY_MAX, SESSION},
    ['D'] = {"DataRow", 6, FRAME_LARGE_MAX + 4, SESSION},
    ['E'] = {"ErrorResponse", 5, FRAME_LARGE_MAX + 4, EVER},
    ['G'] = {"CopyInResponse", 7, 7 + 2 * 65535, SESSION},
    ['H'] = {"CopyOutResponse", 7, 7 + 2 * 65535, SESSION},
    ['I'] = {"EmptyQueryResponse", 4, 4, SESSION},
    ['K'] = {"BackendKeyData", 12, 8 + 256, LOGIN},
    ['N'] = {"NoticeResponse", 5, FRAME_LARGE_MAX + 4, EVER},
    ['R'] = {"AuthenticationRequest", 8, FRAME_REPLY_MAX, LOGIN},
    ['S'] = {"ParameterStatus", 6, FRAME_REPLY_MAX, EVER},
    ['T'] = {"RowDescription", 6, FRAME_LARGE_MAX + 4, SESSION},
    ['V'] = {"FunctionCallResponse", 8, FRAME_LARGE_MAX + 4, SESSION},
    ['W'] = {"CopyBothResponse", 7, 7 + 2 * 65535, SESSION},
    ['Z'] = {"ReadyForQuery", 5, 5, EVER},
    ['c'] = {"CopyDone", 4, 4, SESSION},
    ['d'] = {"CopyData", 4, FRAME_LARGE_MAX + 4, SESSION},
    ['n'] = {"NoData", 4, 4, SESSION},
    ['s'] = {"PortalSuspended", 4, 4, SESSION},
    ['t'] = {"ParameterDescription", 6, 6 + 4 * 65535, SESSION},
    ['v'] = {"NegotiateProtocolVersion", 12, FRAME_REPLY_MAX, LOGIN},
};

const struct frame_type *frame_type_find(enum frame_side side, char type)
{
    unsigned char index = (unsigned char)type;
    if (index >= TYPES)
        return NULL;
    const struct frame_type *row =
        side == FRAME_FRONTEND ? &frontend_types[index] : &backend_types[index];
    return row->name != NULL ? row : NULL;
}

void frame_init(struct frame *frame, enum frame_side side, enum frame_phase phase)
{
    *frame = (struct frame){.side = (uint8_t)side, .phase = (uint8_t)phase};
}

void frame_enter(struct frame *frame, enum frame_phase phase)
{
    hf_assert(frame_is_between(frame));
    frame->phase = (uint8_t)phase;
    frame->left = 0; /* a message that was looked at is judged again */
}

static enum frame_status refuse(struct frame *frame, enum frame_error error)
{
    frame->error = (uint8_t)error;
    frame->left = 0;
    return FRAME_BAD;
}

/* Judges the header at the front of the view, as far as it is there. */
static enum frame_status begin(struct frame *frame, struct sv view)
{
    if (view.size == 0)
        return FRAME_MORE;
    const struct frame_type *row = frame_type_find(frame->side, view.data[0]);
    frame->type = view.data[0];
    if (row == NULL || (row->phases & frame->phase) == 0)
        return refuse(frame, row == NULL ? FRAME_ERROR_TYPE : FRAME_ERROR_PHASE);
    if (view.size < FRAME_HEADER_SIZE)
        return FRAME_MORE;
    uint32_t length = bytes_u32(view.data + 1);
    frame->size = length;
    if (length < row->length_min || length > row->length_max)
        return refuse(frame, FRAME_ERROR_LENGTH);
    frame->size = 1 + length;
    frame->left = frame->size;
    return FRAME_PART;
}

enum frame_status frame_look(struct frame *frame, struct sv view, struct frame_part *part)
{
    if (frame->error != FRAME_ERROR_NONE)
        return FRAME_BAD;
    if (frame->left == 0) {
        enum frame_status status = begin(frame, view);
        if (status != FRAME_PART)
            return status;
    } else if (view.size == 0 || (frame->left == frame->size && view.size < FRAME_HEADER_SIZE)) {
        return FRAME_MORE;
    }
    part->type = frame->type;
    part->is_first = frame->left == frame->size;
    part->is_last = view.size >= frame->left;
    part->size = frame->size;
    part->bytes = sv_from(view.data, part->is_last ? frame->left : view.size);
    return FRAME_PART;
}

size_t frame_whole(const struct frame *frame, struct sv view)
{
    if (frame->left > 0 || view.size < FRAME_HEADER_SIZE || frame->error != FRAME_ERROR_NONE)
        return 0;
    const struct frame_type *row = frame_type_find(frame->side, view.data[0]);
    uint32_t length = bytes_u32(view.data + 1);
    if (row == NULL || (row->phases & frame->phase) == 0 || length < row->length_min ||
        length > row->length_max || view.size <= length)
        return 0;
    return (size_t)length + 1;
}

void frame_take(struct frame *frame, size_t count)
{
    hf_assert(count <= frame->left);
    frame->left -= (uint32_t)count;
}

enum hf_rc frame_error(const struct frame *frame, struct hf_err *err)
{
    const char *who = frame->side == FRAME_FRONTEND ? "client" : "server";
    const struct frame_type *row = frame_type_find(frame->side, frame->type);
    unsigned char type = (unsigned char)frame->type;
    switch ((enum frame_error)frame->error) {
    case FRAME_ERROR_NONE:
        return HF_OK;
    case FRAME_ERROR_TYPE:
        return err_set(err, HF_RC_PEER, "08P01", "invalid %s message type 0x%02X", who, type);
    case FRAME_ERROR_PHASE:
        return err_set(err, HF_RC_PEER, "08P01", "unexpected %s message %s %s", who, row->name,
                       frame->phase == FRAME_LOGIN ? "before the end of the login"
                                                   : "after the end of the login");
    case FRAME_ERROR_LENGTH:
        err_set(err, HF_RC_PEER, "08P01", "invalid length of %s message %s", who, row->name);
        err_detail(err, "The length is %u; from %u to %u is allowed.", frame->size, row->length_min,
                   row->length_max);
        return HF_RC_PEER;
    }
    return HF_OK;
}
