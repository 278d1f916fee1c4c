#include <cuda_runtime.h>

namespace cuda_emulator {

Options& options() {
  static Options options;
  return options;
}

Machine& machine() {
  static Machine machine;
  return machine;
}

void launch(dim3 grid, dim3 block, std::size_t shared_bytes, const std::function<void()>& kernel) {
  if (shared_bytes > machine().most_shared_bytes()) throw EmulationError("more shared memory than a block can have");
  if (grid.y > 65535 || grid.z > 65535) throw EmulationError("a grid that cannot be launched");
  gridDim = grid;
  blockDim = block;
  Block emulated({block.x, block.y, block.z}, shared_bytes, options());
  for (unsigned z = 0; z < grid.z; ++z)
    for (unsigned y = 0; y < grid.y; ++y)
      for (unsigned x = 0; x < grid.x; ++x) {
        blockIdx = dim3(x, y, z);
        emulated.run(kernel, [](Dimensions thread) { threadIdx = dim3(thread.x, thread.y, thread.z); });
      }
}

}  // namespace cuda_emulator
