// What the program uses of MPI, as plain C: the module behind it (mpi_module.cc) is loaded only when started by mpirun,
// so that the program itself starts where there is no MPI.
#pragma once

#include <cstddef>

// Every function returns 0 if it fails, in which case MPI has said why on stderr. All are called by one thread.
struct AlchemistMpiApi {
  int (*start)(int* rank, int* size);
  int (*finish)();
  int (*send)(int rank, const char* bytes, std::size_t size);  // returns when `bytes` may be reused
  // Whether a message waits, from whom, and how long it is.
  int (*probe)(int* waits, int* rank, std::size_t* size);
  int (*receive)(int rank, char* bytes, std::size_t size);  // the message that probe() has told of
};

constexpr const char* kAlchemistMpiModule = "libalchemist_mpi.so";  // beside the program
constexpr const char* kAlchemistMpiSymbol = "alchemist_mpi_api";    // const AlchemistMpiApi* (*)()
