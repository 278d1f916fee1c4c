// The module that is loaded under mpirun: MPI behind sim/sweep/mpi/mpi_api.h.
#include <mpi.h>

#include "sim/sweep/mpi/mpi_api.h"

namespace {

constexpr int kTag = 0;

int start(int* rank, int* size) {
  // Other threads of the process compute; only this one talks.
  int provided = 0;
  return MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided) == MPI_SUCCESS &&
         MPI_Comm_rank(MPI_COMM_WORLD, rank) == MPI_SUCCESS && MPI_Comm_size(MPI_COMM_WORLD, size) == MPI_SUCCESS;
}

int finish() { return MPI_Finalize() == MPI_SUCCESS; }

int send(int rank, const char* bytes, std::size_t size) {
  return MPI_Send(bytes, static_cast<int>(size), MPI_CHAR, rank, kTag, MPI_COMM_WORLD) == MPI_SUCCESS;
}

int probe(int* waits, int* rank, std::size_t* size) {
  MPI_Status status;
  int bytes = 0;
  if (MPI_Iprobe(MPI_ANY_SOURCE, kTag, MPI_COMM_WORLD, waits, &status) != MPI_SUCCESS) return 0;
  if (*waits == 0) return 1;
  if (MPI_Get_count(&status, MPI_CHAR, &bytes) != MPI_SUCCESS) return 0;
  *rank = status.MPI_SOURCE;
  *size = static_cast<std::size_t>(bytes);
  return 1;
}

int receive(int rank, char* bytes, std::size_t size) {
  return MPI_Recv(bytes, static_cast<int>(size), MPI_CHAR, rank, kTag, MPI_COMM_WORLD, MPI_STATUS_IGNORE) ==
         MPI_SUCCESS;
}

}  // namespace

extern "C" const AlchemistMpiApi* alchemist_mpi_api() {
  static const AlchemistMpiApi api{start, finish, send, probe, receive};
  return &api;
}
