/* A disk that hangs, for any program: preloaded, fsync and fdatasync do not return while the file $HANG exists.
 *
 * The first of them makes the file $HUNG.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
static void hang(void) {
    if (access(getenv("HANG"), F_OK) != 0) return;
    close(open(getenv("HUNG"), O_CREAT | O_WRONLY, 0600));
    for (;;) pause();
}
int fdatasync(int fd) { hang(); return ((int (*)(int)) dlsym(RTLD_NEXT, "fdatasync"))(fd); }
int fsync(int fd) { hang(); return ((int (*)(int)) dlsym(RTLD_NEXT, "fsync"))(fd); }
