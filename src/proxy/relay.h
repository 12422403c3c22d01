/*
 * The path of bytes between a client and the server connection it has.
 *
 *     client's view --frame--> what is it, what will it owe --replies_send--> server's out
 *     client's out  <--------- whose is it <--replies_receive--- frame <-- server's view
 *
 * Messages are not assembled: runs of bytes that pass unchanged are put into the other stream at
 * once, whatever messages they are parts of. Each call moves as much as is there and as there is
 * room for, and is called again when either changes; nothing is remembered in between but what is
 * in the frames, in the accounting, and untaken in the views.
 *
 * Room comes first: before a byte is looked at, it is sure to find room in the other stream
 * (RELAY_RESERVE is kept for what we put in ourselves). So bytes that were accounted for are always
 * sent too, and no state lies between the two.
 *
 * Messages that must be seen whole wait in the view until they are.
 */
#ifndef HF_PROXY_RELAY_H
#define HF_PROXY_RELAY_H

struct client;
struct server;

#define RELAY_RESERVE 1024

/* Moves what the client has said; asks for a server connection when it needs one. */
void relay_from_client(struct client *client);

/* Moves what the server has said; gives the connection back when it is done. */
void relay_from_server(struct server *server);

#endif
