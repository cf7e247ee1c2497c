/* SPDX-License-Identifier: Apache-2.0 */
/* Why the edge cuts a client off. Each is something that a client may do now and then, but not without end. */
#pragma once

enum edge_abuse {
    EDGE_ABUSE_NONE,
    EDGE_ABUSE_HEADERS,  /* a header block without end */
    EDGE_ABUSE_STREAMS,  /* many streams opened before the client has acknowledged the server's settings */
    EDGE_ABUSE_RESETS,   /* streams opened and reset */
    EDGE_ABUSE_PINGS,    /* more pings than the server has sent messages */
    EDGE_ABUSE_SETTINGS, /* changes of the settings without end */
    EDGE_ABUSE_USELESS,  /* empty or unknown frames, priorities, window updates without end */
    EDGE_ABUSE_MESSAGES, /* too many bytes of messages that do not become complete */
    EDGE_ABUSE_OFFENDER, /* closed at once: several connections from its address were cut off just now */
    EDGE_ABUSE_CONNECTS, /* closed at once: too many connections from its address were or are without a call */
    EDGE_ABUSES,
};

/* "resets", for example; a literal. */
const char *edge_abuse_name(enum edge_abuse abuse);
