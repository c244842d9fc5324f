// A place in a JSON document, for error texts: "mounts[3].destination", "annotations[\"org.example\"]".
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"

namespace kata::oci {

// Grows and shrinks along with the walk through a document. Names are borrowed: they must outlive their step.
class JsonPath {
 public:
  using Step = std::variant<std::string_view, size_t>;  // a member's name, or an index

  void Push(Step step) { steps_.push_back(step); }
  void Pop() { steps_.pop_back(); }

  // Printable ASCII on one line, long names cut; empty for the document itself.
  std::string ToString() const;

  // kInvalidArgument "<path>: <what>".
  Error MakeError(std::string_view what) const;

 private:
  std::vector<Step> steps_;
};

// One step down for as long as the object lives.
class ScopedStep {
 public:
  ScopedStep(JsonPath& path, JsonPath::Step step) : path_(path) { path_.Push(step); }
  ~ScopedStep() { path_.Pop(); }
  ScopedStep(const ScopedStep&) = delete;
  ScopedStep& operator=(const ScopedStep&) = delete;

 private:
  JsonPath& path_;
};

}  // namespace kata::oci
