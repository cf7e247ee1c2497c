/* SPDX-License-Identifier: Apache-2.0 */
/* The replaced functions that a self-test looks for. */
#pragma once

enum edge_function {
    EDGE_ACCEPT,  /* accept4 */
    EDGE_READ,    /* recvmsg */
    EDGE_SEND,    /* sendmsg */
    EDGE_DECRYPT, /* SSL_read */
    EDGE_ENCRYPT, /* SSL_write */
    EDGE_FUNCTIONS,
};
