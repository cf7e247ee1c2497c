/* SPDX-License-Identifier: Apache-2.0 */
/* A getaddrinfo for the process of the test, and so for libpq as well. It knows the names that the test gives it. Other
 * names and addresses are resolved as ever. */
#pragma once

/* From now on, `name` has this address. A later call changes it. */
void fake_names_set(const char *name, const char *address);
/* From now on, lookups of `name` wait until fake_names_release. */
void fake_names_hold(const char *name);
/* Lets all lookups go on. */
void fake_names_release(void);
/* Returns the number of lookups of `name` that have begun. */
int fake_names_count(const char *name);
/* Waits until n lookups of `name` have ended. */
void fake_names_wait(const char *name, int n);
