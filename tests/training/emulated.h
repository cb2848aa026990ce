// Lets a C++ compiler build CUDA kernels for the CPU: every thread of a block is a fiber, which runs until the next barrier.
//
// Between two barriers the threads run one after the other, forwards (order 0), backwards (1) or shuffled (2), and so do the blocks of a
// launch: kernels that miss a barrier give other results in another order. Shared memory begins as NaN. A barrier that some threads of a
// block reach while others have ended is an error, and so is more shared memory than the launch has asked for.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>
#include <ucontext.h>

#define __global__
#define __device__
#define __forceinline__ inline
#define __restrict__ __restrict
#define __shared__
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))

struct dim { int x, y, z; };
struct uint2 { unsigned x, y; };
struct float2 { float x, y; };
struct __align__(16) float4 { float x, y, z, w; };
static inline float2 make_float2(float x, float y) { return {x, y}; }
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
using std::max;
using std::min;

static dim threadIdx, blockIdx;
static constexpr int MOST_SHARED = 1 << 18, MOST_THREADS = 1024, STACK = 1 << 16, GUARD = 64;
__align__(16) unsigned char shared_memory[MOST_SHARED + GUARD];

static ucontext_t scheduler, fibers[MOST_THREADS];
static std::vector<char> stacks((size_t)MOST_THREADS * STACK);
static bool ended[MOST_THREADS];
static void (*body)();

static void __syncthreads() {
  int t = threadIdx.x;
  swapcontext(&fibers[t], &scheduler);
  threadIdx = {t, 0, 0};
}

static void run_fiber() {
  body();
  ended[threadIdx.x] = true;
}

static void shuffle(std::vector<int>& numbers, int order, std::mt19937& random) {
  if (order == 1) std::reverse(numbers.begin(), numbers.end());
  if (order == 2) std::shuffle(numbers.begin(), numbers.end(), random);
}

// 0, or what was wrong: 1 a barrier that not all threads reach, 2 shared memory beyond what was asked for
static int run_block(int n_threads, int shared_bytes, int order, std::mt19937& random) {
  memset(shared_memory, 0xff, sizeof shared_memory);
  for (int t = 0; t < n_threads; t++) {
    ended[t] = false;
    getcontext(&fibers[t]);
    fibers[t].uc_stack.ss_sp = stacks.data() + (size_t)t * STACK;
    fibers[t].uc_stack.ss_size = STACK;
    fibers[t].uc_link = &scheduler;
    makecontext(&fibers[t], run_fiber, 0);
  }
  for (int n_ended = 0; n_ended < n_threads;) {
    std::vector<int> turn(n_threads);
    std::iota(turn.begin(), turn.end(), 0);
    shuffle(turn, order, random);
    for (int t : turn) {
      threadIdx = {t, 0, 0};
      swapcontext(&scheduler, &fibers[t]);
      n_ended += ended[t];
    }
    if (n_ended && n_ended < n_threads) return 1;
  }
  for (int i = shared_bytes; i < shared_bytes + GUARD; i++)
    if (shared_memory[i] != 0xff) return 2;
  return 0;
}

static int run_grid(int grid_x, int grid_y, int n_threads, int shared_bytes, int order) {
  std::mt19937 random(order);
  std::vector<int> blocks(grid_x * grid_y);
  std::iota(blocks.begin(), blocks.end(), 0);
  shuffle(blocks, order, random);
  for (int block : blocks) {
    blockIdx = {block % grid_x, block / grid_x, 0};
    if (int wrong = run_block(n_threads, shared_bytes, order, random)) return wrong;
  }
  return 0;
}
