/* SPDX-License-Identifier: Apache-2.0 */
/* A fake Redis server in the test's process, on a free port of 127.0.0.1. It notes the commands of its clients, and
 * sends the test's answers, which are the bytes of the protocol, such as "+OK\r\n". A command is written as its words
 * with a space between them, e.g. "GET a".
 *
 * One thread serves all clients. Any thread may call these functions. */
#pragma once

#include <stddef.h>

#include "config/redis_url.h"

struct fake_redis;

/* Initializes a struct redis_command with these words. */
#define FAKE_COMMAND(its_slot, ...)                                                                                    \
    {                                                                                                                  \
        .slot = (its_slot), .argc = (int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(const char *)),               \
        .argv = (const char *[]){__VA_ARGS__},                                                                         \
    }

#define FAKE_CLOSE   ""   /* an answer: the server closes the connection */
#define FAKE_SILENCE NULL /* an answer: the server sends nothing */

/* Answers "-ERR unknown command\r\n" to all commands. */
struct fake_redis *fake_redis_new(void);
/* The same on a Unix socket at this path, which fake_redis_free removes. */
struct fake_redis *fake_redis_new_unix(const char *path);
void fake_redis_free(struct fake_redis *redis);
const struct redis_address *fake_redis_address(const struct fake_redis *redis);

/* From now on, commands that begin with this text get this answer. Of several texts that fit, the latest counts. */
void fake_redis_answer(struct fake_redis *redis, const char *command, const char *answer);
/* The same, for the next such command only. */
void fake_redis_answer_once(struct fake_redis *redis, const char *command, const char *answer);
/* Closes all connections on which a command has arrived. */
void fake_redis_cut(struct fake_redis *redis);

/* Counts the commands since the last fake_redis_forget that begin with this text. */
int fake_redis_count(struct fake_redis *redis, const char *command);
/* Fails the test unless the commands since the last fake_redis_forget were these, each followed by a line feed. */
void fake_redis_expect(struct fake_redis *redis, const char *commands);
void fake_redis_forget(struct fake_redis *redis);
/* Counts the connections that were ever accepted. */
int fake_redis_accepted(struct fake_redis *redis);
/* Waits until no client is connected that has sent a command. Fails the test after 5 s. */
void fake_redis_await_no_client(struct fake_redis *redis);
