/* A bad block of a disk, for any program: preloaded, what lies between two bytes of a file cannot be read.
 *
 * $BADBLOCK is `inode first last`. All reads by which any of these bytes would be given fail with EIO, as
 * those of the kernel do.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int is_bad(int fd, off_t at, size_t count) {
    unsigned long inode;
    long first, last;
    struct stat about;
    const char *block = getenv("BADBLOCK");
    if (!block || sscanf(block, "%lu %ld %ld", &inode, &first, &last) != 3 || fstat(fd, &about) || about.st_ino != inode)
        return 0;
    errno = EIO;
    return at <= last && at + (off_t)count > first;
}

ssize_t read(int fd, void *data, size_t count) {
    return is_bad(fd, lseek(fd, 0, SEEK_CUR), count) ? -1 : REAL(read)(fd, data, count);
}
ssize_t pread(int fd, void *data, size_t count, off_t at) {
    return is_bad(fd, at, count) ? -1 : REAL(pread)(fd, data, count, at);
}
ssize_t pread64(int fd, void *data, size_t count, off64_t at) {
    return is_bad(fd, at, count) ? -1 : REAL(pread64)(fd, data, count, at);
}
