// The kernels of convnet.cu with one entry point for a launch, as emulated.h runs it.
#include "emulated.h"
#include "convnet.cu"

static const Arguments* arguments;
static int step_now;

extern "C" int launch(const char* kernel, int grid_x, int grid_y, int n_threads, int shared_bytes, const void* args, int step, int order) {
  arguments = (const Arguments*)args;
  step_now = step;
  if (!strcmp(kernel, "train")) body = [] { train(*arguments, step_now); };
  else if (!strcmp(kernel, "update")) body = [] { update(*arguments, step_now); };
  else if (!strcmp(kernel, "evaluate")) body = [] { evaluate(*arguments, step_now); };
  else return 3;
  return run_grid(grid_x, grid_y, n_threads, shared_bytes, order);
}

extern "C" int arguments_bytes() { return sizeof(Arguments); }
extern "C" int member_bytes() { return sizeof(Member); }
