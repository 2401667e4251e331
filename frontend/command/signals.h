// Signals that end the command: half-written files go with it.
#ifndef VITQC_SIGNALS_H
#define VITQC_SIGNALS_H

// SIGINT, SIGTERM and SIGHUP remove all registered files and empty folders and end the
// process with 128 + the signal's number; a fault of the compiler with 70.
void signals_install(void);
void signals_add(const char *path);
void signals_drop(const char *path);

#endif
