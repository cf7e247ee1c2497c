/* SPDX-License-Identifier: Apache-2.0 */
/* Reasons why the edge cuts a client off. A client may do each of these things now and then, but not without end. */
#pragma once

enum edge_abuse {
    EDGE_ABUSE_NONE,
    EDGE_ABUSE_HEADERS,  /* a header block that does not end */
    EDGE_ABUSE_STREAMS,  /* many streams opened before the client has acknowledged the server's settings */
    EDGE_ABUSE_RESETS,   /* streams opened and reset */
    EDGE_ABUSE_PINGS,    /* many more pings than the server has sent messages */
    EDGE_ABUSE_SETTINGS, /* changes of the settings again and again */
    EDGE_ABUSE_USELESS,  /* empty or unknown frames, priorities, window updates again and again */
    EDGE_ABUSE_MESSAGES, /* too many messages, or bytes of them, that do not become complete */
    EDGE_ABUSE_OFFENDER, /* closed at once: several connections from its address were cut off just now */
    EDGE_ABUSE_CONNECTS, /* closed at once: its address has or had too many connections without a call */
    EDGE_ABUSES,
};

/* The name of a reason, such as "resets"; a literal. */
const char *edge_abuse_name(enum edge_abuse abuse);
