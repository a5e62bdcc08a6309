/* A disk whose every sync takes SLOW_SYNC_MS longer. It sleeps in C, as a real disk does, where Python knows nothing of it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

static int slow(const char *name, int descriptor) {
    const char *ms = getenv("SLOW_SYNC_MS");
    if (ms) usleep((useconds_t)(atoi(ms) * 1000));
    return ((int (*)(int))dlsym(RTLD_NEXT, name))(descriptor);
}

int fsync(int descriptor) { return slow("fsync", descriptor); }
int fdatasync(int descriptor) { return slow("fdatasync", descriptor); }
