/*
 * The worker threads' life, seen from outside: none for threads = 1, kept between calls and never more than asked for, anew in a
 * forked child, gone with the library. The library is opened by path: threads LIBRARY
 */
#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "convolution.h"

static int passed, failed;
#define CHECK(condition) ((condition) ? (void)passed++ : (void)(failed++, printf("threads.c:%d: %s\n", __LINE__, #condition)))

enum { SIZE = 40, CHANNELS = 32, ELEMENTS = SIZE * SIZE * CHANNELS };
static float input[ELEMENTS], kernel[9 * CHANNELS * CHANNELS], expected[ELEMENTS];
static int32_t (*convolve)(const conv2d_params *, const void *, const void *, const void *, void *);

static int tasks(void) {
    int count = 0;
    DIR *folder = opendir("/proc/self/task");
    for (struct dirent *entry; folder && (entry = readdir(folder));) count += entry->d_name[0] != '.';
    if (folder) closedir(folder);
    return count;
}

/* A joined thread's task may be seen for a moment longer. */
static int settles_at(int wanted) {
    for (int i = 0; i < 200 && tasks() != wanted; i++) nanosleep(&(struct timespec){ 0, 10000000 }, NULL);
    return tasks() == wanted;
}

static int is_right(int32_t threads) {
    float *output = malloc(ELEMENTS * sizeof *output);
    const conv2d_params p = { .struct_size = sizeof p, .batch = 1, .height = SIZE, .width = SIZE, .in_channels = CHANNELS,
                              .out_channels = CHANNELS, .kernel_height = 3, .kernel_width = 3,
                              .padding = CONVOLUTION_PADDING_SAME, .threads = threads };
    int right = output && convolve(&p, input, kernel, NULL, output) == CONVOLUTION_OK
        && !memcmp(output, expected, sizeof expected);
    free(output);
    return right;
}

/* About 10 microseconds. */
static int call_short_layer(void) {
    static float output[14 * 14 * 32];
    const conv2d_params p = { .struct_size = sizeof p, .batch = 1, .height = 14, .width = 14, .in_channels = 16,
                              .out_channels = 32, .kernel_height = 3, .kernel_width = 3,
                              .padding = CONVOLUTION_PADDING_SAME, .threads = 2 };
    return convolve(&p, input, kernel, NULL, output) == CONVOLUTION_OK;
}

enum { STACK = 64 << 10, BELOW = 1 << 20 };

static void *call_small_layer(void *output) {
    const conv2d_params p = { .struct_size = sizeof p, .batch = 1, .height = 8, .width = 8, .in_channels = 8, .out_channels = 8,
                              .kernel_height = 3, .kernel_width = 3, .threads = 1 };
    return convolve(&p, input, kernel, NULL, output) == CONVOLUTION_OK ? output : NULL;
}

/* Small layers have their workspace on the caller's stack: one of 64 KiB, below which no byte may be touched, is enough. */
static int small_stack_is_enough(void) {
    float here[6 * 6 * 8], there[6 * 6 * 8];
    char *memory = mmap(NULL, BELOW + STACK, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory + BELOW, STACK, PROT_READ | PROT_WRITE)) return 0;
    pthread_attr_t attributes;
    pthread_t thread;
    void *result = NULL;
    int ran = !pthread_attr_init(&attributes) && !pthread_attr_setstack(&attributes, memory + BELOW, STACK)
              && !pthread_create(&thread, &attributes, call_small_layer, there) && !pthread_join(thread, &result);
    pthread_attr_destroy(&attributes);
    munmap(memory, BELOW + STACK);
    return ran && result && call_small_layer(here) && !memcmp(here, there, sizeof here);
}

/* What a forked child says. */
static int in_child(int (*is_good)(void)) {
    pid_t child = fork();
    if (child == 0) exit(is_good() ? 0 : 1);
    int status = -1;
    return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

/* The same results, with workers of its own. */
static int is_right_anew(void) {
    int right = tasks() == 1 && is_right(1) && tasks() == 1;
    for (int i = 0; i < 20; i++) right = right && is_right(3);
    return right && tasks() <= 3;
}

/* threads = 0 counts the processors that the process may run on. */
static int is_alone_on_one_processor(void) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    return !sched_setaffinity(0, sizeof one, &one) && is_right(0) && is_right(0) && tasks() == 1;
}

static void *call_some_times(void *right) {
    for (int i = 0; i < 400; i++) *(int *)right &= is_right(2);
    return NULL;
}

/* However many call at once: as many workers as one call asks for, or as there are other processors. */
static int has_few_workers(void) {
    pthread_t callers[6];
    int right[6], processors = (int)sysconf(_SC_NPROCESSORS_ONLN), workers = processors > 2 ? processors - 1 : 1;
    for (int i = 0; i < 6; i++)
        if (right[i] = 1, pthread_create(&callers[i], NULL, call_some_times, &right[i])) return 0;
    int all = 1;
    for (int i = 0; i < 6; i++) all &= !pthread_join(callers[i], NULL) && right[i];
    for (int i = 0; i < 200 && tasks() > 1 + workers; i++) nanosleep(&(struct timespec){ 0, 10000000 }, NULL);
    return all && tasks() <= 1 + workers;
}

static volatile int stop;
static void *keep_calling(void *right) {
    while (!stop) *(int *)right &= is_right(3);
    return NULL;
}

static volatile sig_atomic_t caught_by_main;
static pthread_t main_thread;
static void catch(int number) {
    (void)number;
    caught_by_main += pthread_equal(pthread_self(), main_thread) ? 1 : 1000;
}

int main(int count, char **arguments) {
    void *library = count > 1 ? dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL) : NULL;
    void *symbol = library ? dlsym(library, "conv2d") : NULL;
    if (!symbol) return puts("no library"), 1;
    memcpy(&convolve, &symbol, sizeof convolve);
    for (int i = 0; i < ELEMENTS; i++) input[i] = (float)(i % 7 - 3);
    for (size_t i = 0; i < sizeof kernel / sizeof *kernel; i++) kernel[i] = (float)((int)i % 5 - 2);
    const conv2d_params p = { .struct_size = sizeof p, .batch = 1, .height = SIZE, .width = SIZE, .in_channels = CHANNELS,
                              .out_channels = CHANNELS, .kernel_height = 3, .kernel_width = 3,
                              .padding = CONVOLUTION_PADDING_SAME, .threads = 1 };
    CHECK(convolve(&p, input, kernel, NULL, expected) == CONVOLUTION_OK);
    CHECK(tasks() == 1);
    CHECK(small_stack_is_enough());
    CHECK(settles_at(1));

    /* Alone it is not worth a thread; many in a row are. */
    CHECK(call_short_layer() && tasks() == 1);
    for (int i = 0; i < 10000 && tasks() == 1; i++) call_short_layer(), call_short_layer();
    CHECK(tasks() == 2);

    CHECK(is_right(3));
    CHECK(tasks() == 3);
    for (int i = 0; i < 50; i++) CHECK(is_right(2));
    CHECK(tasks() == 3);
    CHECK(is_right(5));
    CHECK(tasks() == 5);
    nanosleep(&(struct timespec){ 0, 20000000 }, NULL); /* asleep */
    CHECK(is_right(5));

    /* A signal to the process is delivered to a thread that does not block it: not one of the library's. */
    main_thread = pthread_self();
    signal(SIGUSR1, catch);
    for (int i = 0; i < 20; i++) {
        kill(getpid(), SIGUSR1);
        CHECK(is_right(5));
    }
    CHECK(caught_by_main >= 1 && caught_by_main < 1000);

    for (int i = 0; i < 5; i++) CHECK(in_child(is_right_anew));
    CHECK(in_child(is_alone_on_one_processor));
    CHECK(in_child(has_few_workers));
    CHECK(is_right(5));

    /* Forked while other threads are in the middle of calls. */
    pthread_t callers[3];
    int right[3] = { 1, 1, 1 };
    for (int i = 0; i < 3; i++) CHECK(pthread_create(&callers[i], NULL, keep_calling, &right[i]) == 0);
    for (int i = 0; i < 20; i++) CHECK(in_child(is_right_anew));
    stop = 1;
    for (int i = 0; i < 3; i++) {
        CHECK(pthread_join(callers[i], NULL) == 0);
        CHECK(right[i]);
    }
    CHECK(settles_at(5));

    /* Unloaded with its workers, and loaded again. */
    CHECK(dlclose(library) == 0);
    CHECK(settles_at(1));
    library = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
    symbol = library ? dlsym(library, "conv2d") : NULL;
    CHECK(symbol != NULL);
    if (symbol) {
        memcpy(&convolve, &symbol, sizeof convolve);
        CHECK(is_right(3));
        CHECK(tasks() == 3);
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
