/* What a power cut would leave. Preloaded into the hub by power.rs: after every sync of a file its content as it is now goes to
   the folder POWERCUT_KEEP under the same name. Whatever was written since the last sync is not in there.

   The file is read through the caller's own descriptor: opening and closing it here would drop the locks SQLite holds on it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void keep(int fd) {
    const char *folder = getenv("POWERCUT_KEEP");
    char link[64], path[PATH_MAX], to[PATH_MAX], made[PATH_MAX], bytes[65536];
    struct stat about;
    if (!folder || fstat(fd, &about) || !S_ISREG(about.st_mode)) return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return;
    path[length] = 0;
    const char *name = strrchr(path, '/');
    name = name ? name + 1 : path;
    /* Whole or not at all: the process may be killed in the middle of this. */
    snprintf(made, sizeof made, "%s/.%s", folder, name);
    snprintf(to, sizeof to, "%s/%s", folder, name);
    int out = open(made, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    if (out < 0) return;
    off_t at = 0;
    ssize_t got;
    while ((got = pread(fd, bytes, sizeof bytes, at)) > 0) {
        if (write(out, bytes, (size_t)got) != got) break;
        at += got;
    }
    close(out);
    if (got == 0) rename(made, to);
}

int fsync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    int done = real(fd);
    if (done == 0) keep(fd);
    return done;
}

int fdatasync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    int done = real(fd);
    if (done == 0) keep(fd);
    return done;
}
