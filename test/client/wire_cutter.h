/*
 * A line to a server that breaks on demand, at the byte a test names.
 *
 *     library  <-->  127.0.0.1:cutter.port  <-->  server
 *
 *     struct cutter *cutter = cutter_new(server_port);
 *     cutter_arm(cutter, CUT_REPLY, "COMMIT");        the next request with COMMIT in it ...
 *     ...
 *     assert(cutter_cuts(cutter) == 1);
 *     cutter_free(cutter);
 *
 * It forwards bytes between any number of clients and one server on a thread of its own. A rule is
 * good once: it looks for its text in what clients send, and then
 *
 *     CUT_REQUEST       the request is not forwarded, both sides are reset: nothing of it happened
 *     CUT_REPLY         it is forwarded; when its last answer has come (ReadyForQuery), both sides
 *                       are reset, and the client has seen nothing of that answer
 *     CUT_LAST_REPLY    as before, but what comes before the CommandComplete of COMMIT is passed on
 *     CUT_AND_KEEP      it is forwarded, the client is reset at once, the server is left connected:
 *                       it works on and learns nothing
 *     CUT_SILENCE       it is forwarded, and from then on nothing passes in either direction; the
 *                       connections stay open
 *     CUT_PAUSE         it is not forwarded until cutter_resume()
 *
 * cutter_refuse() makes the port refuse new connections, and resets those that are there.
 */
#ifndef HF_TEST_CLIENT_WIRE_CUTTER_H
#define HF_TEST_CLIENT_WIRE_CUTTER_H

#include <stdbool.h>
#include <stdint.h>

enum cut {
    CUT_NOTHING,
    CUT_REQUEST,
    CUT_REPLY,
    CUT_LAST_REPLY,
    CUT_AND_KEEP,
    CUT_SILENCE,
    CUT_PAUSE,
};

struct cutter;

struct cutter *cutter_new(int server_port);
void cutter_free(struct cutter *cutter);
int cutter_port(const struct cutter *cutter);

void cutter_arm(struct cutter *cutter, enum cut what, const char *text);
uint32_t cutter_cuts(struct cutter *cutter); /* rules that have struck */
void cutter_wait_cut(
    struct cutter *cutter); /* until the armed rule has done its work; aborts after 20 s */
void cutter_resume(struct cutter *cutter); /* what is silenced or paused passes again */
void cutter_refuse(struct cutter *cutter, bool is_refusing);
uint64_t cutter_connections(struct cutter *cutter); /* that were ever accepted */
uint64_t cutter_packets(struct cutter *cutter);     /* reads from clients: round trips, nearly */

#endif
