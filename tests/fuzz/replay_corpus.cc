// Runs a fuzz target over kept inputs without libFuzzer: replay_corpus DIRECTORY
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int main(int argc, char** argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
    return 2;
  }
  size_t count = 0;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(argv[1], error), end; !error && entry != end;
       entry.increment(error)) {
    printf("%s\n", entry->path().c_str());
    fflush(stdout);
    std::ifstream file(entry->path(), std::ios::binary);
    const std::string input{std::istreambuf_iterator<char>(file), {}};
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size());
    ++count;
  }
  if (error || count == 0) {
    fprintf(stderr, "%s: no inputs in '%s'\n", argv[0], argv[1]);
    return 1;
  }
  printf("%zu inputs\n", count);
  return 0;
}
