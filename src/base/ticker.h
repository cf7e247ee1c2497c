/* A thread that does something again and again: first after one interval, then an interval after each end. */
#pragma once

#include <stdint.h>

struct ticker;

struct ticker *ticker_start(int64_t interval_us, void (*tick)(void *arg), void *arg);
/* Waits for a tick that is running, and ends the thread. NULL is fine. */
void ticker_stop(struct ticker *ticker);
