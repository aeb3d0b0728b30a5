/* Lends /dev/i2c-N to any program: preloaded, it leads to the simulated bridge at the Unix socket $I2CSIM.
 *
 * With $I2CBUS in the environment only the bus of this number is lent.
 *
 * To open the device is to connect to that socket, and the descriptor is the socket's. Each transfer is one
 * packet {kind, address, command, value} and one answer {errno, value}; i2c_server.py is the other end. Only
 * what the simulated chip needs is offered: quick, byte and byte data transfers.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/i2c-dev.h>
#include <linux/i2c.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define DESCRIPTORS 1024
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static struct { char is_ours; unsigned char address; } bus[DESCRIPTORS];
static pthread_mutex_t one_transfer = PTHREAD_MUTEX_INITIALIZER;

static int is_bus(const char *path) {
    const char *only = getenv("I2CBUS");
    return getenv("I2CSIM") && strncmp(path, "/dev/i2c-", 9) == 0 && (!only || strcmp(path + 9, only) == 0);
}

static int open_bus(int flags) {
    struct sockaddr_un server = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | (flags & O_CLOEXEC ? SOCK_CLOEXEC : 0), 0);
    if (fd < 0)
        return -1;
    strncpy(server.sun_path, getenv("I2CSIM"), sizeof server.sun_path - 1);
    if (fd >= DESCRIPTORS || connect(fd, (struct sockaddr *)&server, sizeof server) < 0) {
        close(fd);
        errno = ENOENT;
        return -1;
    }
    bus[fd].is_ours = 1;
    return fd;
}

static int transfer(int fd, char kind, unsigned char command, unsigned char *value) {
    unsigned char packet[] = {kind, bus[fd].address, command, value ? *value : 0};
    pthread_mutex_lock(&one_transfer);
    if (send(fd, packet, 4, MSG_NOSIGNAL) != 4 || recv(fd, packet, 2, 0) != 2)
        packet[0] = EIO;
    pthread_mutex_unlock(&one_transfer);
    if (packet[0]) {
        errno = packet[0];
        return -1;
    }
    if (value)
        *value = packet[1];
    return 0;
}

static int smbus(int fd, struct i2c_smbus_ioctl_data *asked) {
    int reads = asked->read_write == I2C_SMBUS_READ;
    if (asked->size == I2C_SMBUS_QUICK)
        return transfer(fd, 'q', 0, NULL);
    if (asked->size == I2C_SMBUS_BYTE)
        return reads ? transfer(fd, 'r', 0, &asked->data->byte) : transfer(fd, 'w', asked->command, NULL);
    if (asked->size == I2C_SMBUS_BYTE_DATA && !reads) {
        unsigned char value = asked->data->byte;
        return transfer(fd, 'd', asked->command, &value);
    }
    errno = EOPNOTSUPP;
    return -1;
}

int ioctl(int fd, unsigned long request, ...) {
    va_list rest;
    va_start(rest, request);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    if (fd < 0 || fd >= DESCRIPTORS || !bus[fd].is_ours)
        return REAL(ioctl)(fd, request, argument);
    switch (request) {
    case I2C_SLAVE:
    case I2C_SLAVE_FORCE:
        bus[fd].address = (unsigned char)(size_t)argument;
        return request == I2C_SLAVE ? transfer(fd, 's', 0, NULL) : 0;
    case I2C_FUNCS:
        *(unsigned long *)argument = I2C_FUNC_SMBUS_QUICK | I2C_FUNC_SMBUS_BYTE | I2C_FUNC_SMBUS_WRITE_BYTE_DATA;
        return 0;
    case I2C_SMBUS:
        return smbus(fd, argument);
    default:
        return REAL(ioctl)(fd, request, argument);
    }
}

int close(int fd) {
    if (fd >= 0 && fd < DESCRIPTORS)
        bus[fd].is_ours = 0;
    return REAL(close)(fd);
}

#define NEEDS_MODE(flags) ((flags) & O_CREAT || ((flags) & O_TMPFILE) == O_TMPFILE)
#define OPEN(name, parameters, arguments)                                                                      \
    int name parameters {                                                                                      \
        va_list rest;                                                                                          \
        va_start(rest, flags);                                                                                 \
        mode_t mode = NEEDS_MODE(flags) ? va_arg(rest, mode_t) : 0;                                            \
        va_end(rest);                                                                                          \
        return is_bus(path) ? open_bus(flags) : REAL(name) arguments;                                          \
    }
OPEN(open, (const char *path, int flags, ...), (path, flags, mode))
OPEN(open64, (const char *path, int flags, ...), (path, flags, mode))
OPEN(openat, (int folder, const char *path, int flags, ...), (folder, path, flags, mode))
OPEN(openat64, (int folder, const char *path, int flags, ...), (folder, path, flags, mode))
