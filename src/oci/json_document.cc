#include "oci/json_document.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "oci/json.h"
#include "oci/json_path.h"
#include "oci/limits.h"

namespace kata::oci {
namespace {

using nlohmann::json;

// Receives the parser's events, builds the document, and ends the parse at the first thing it refuses.
class DocumentBuilder final : public nlohmann::json_sax<json> {
 public:
  bool null() override { return Add(nullptr); }
  bool boolean(bool value) override { return Add(value); }
  bool number_integer(number_integer_t value) override { return Add(value); }
  bool number_unsigned(number_unsigned_t value) override { return Add(value); }
  bool number_float(number_float_t value, const string_t&) override { return Add(value); }
  bool string(string_t& value) override {
    if (value.find('\0') != std::string::npos) return Refuse(Here(), "contains a NUL byte");
    return Add(std::move(value));
  }
  bool binary(binary_t&) override { return Refuse(Here(), "binary value"); }

  bool start_object(size_t) override { return Open(json::object()); }
  bool key(string_t& name) override {
    Frame& frame = frames_.back();
    const auto [member, added] = frame.container->get_ref<json::object_t&>().try_emplace(std::move(name));
    frame.key = member->first;
    frame.member = &member->second;
    if (!added) return Refuse(Here(), "appears twice");
    if (frame.key.find('\0') != std::string_view::npos) return Refuse(Here(), "name contains a NUL byte");
    return true;
  }
  bool end_object() override { return Close(); }
  bool start_array(size_t) override { return Open(json::array()); }
  bool end_array() override { return Close(); }

  bool parse_error(size_t, const std::string&, const json::exception& exception) override {
    // "[json.exception.<id>] <text>; last read: '<raw input>'...": only the text is fit for a log.
    std::string_view text = exception.what();
    if (const size_t end = text.find("] "); end != std::string_view::npos) text.remove_prefix(end + 2);
    text = text.substr(0, text.find("; last read: "));
    error_.emplace(Code::kInvalidArgument, std::string(text));
    return false;
  }

  Result<json> Take(bool complete) && {
    if (error_) return *std::move(error_);
    if (!complete) return Error(Code::kInternal, "JSON parser stopped without a reason");
    return std::move(document_);
  }

 private:
  struct Frame {
    json* container;
    std::string_view key;    // of the member being read; objects only
    json* member = nullptr;  // its place
  };

  // The place of the value being read. An open array's elements are not moved: it grows only after they are
  // complete.
  json* Place() {
    if (frames_.empty()) return &document_;
    Frame& frame = frames_.back();
    return frame.container->is_object() ? frame.member : &frame.container->emplace_back();
  }
  bool Count() {
    if (++values_ <= kMaxJsonValues) return true;
    return Refuse(JsonPath(), fmt::format("more than {} values", kMaxJsonValues));
  }
  template <typename T>
  bool Add(T&& value) {
    if (!Count()) return false;
    *Place() = std::forward<T>(value);
    return true;
  }
  bool Open(json container) {
    if (frames_.size() == kMaxJsonDepth) {
      return Refuse(Here(), fmt::format("nested deeper than {} levels", kMaxJsonDepth));
    }
    if (!Count()) return false;
    json* place = Place();
    *place = std::move(container);
    frames_.push_back({place});
    return true;
  }
  bool Close() {
    frames_.pop_back();
    return true;
  }

  JsonPath Here() const {
    JsonPath path;
    for (const Frame& frame : frames_) {
      if (frame.container->is_object()) {
        path.Push(frame.key);
      } else {
        // A container within counts among the elements already, a scalar does not.
        const bool innermost = &frame == &frames_.back();
        path.Push(frame.container->size() - (innermost ? 0 : 1));
      }
    }
    return path;
  }
  bool Refuse(const JsonPath& path, std::string_view what) {
    error_ = path.MakeError(what);
    return false;
  }

  json document_;
  std::vector<Frame> frames_;
  size_t values_ = 0;
  std::optional<Error> error_;
};

}  // namespace

Result<json> ParseDocument(std::string_view text) {
  if (text.size() > kMaxConfigBytes) {
    return kata::MakeError(Code::kResourceExhausted, "{} bytes of JSON, the limit is {}", text.size(),
                           kMaxConfigBytes);
  }
  DocumentBuilder builder;
  const bool complete = json::sax_parse(text, &builder);
  return std::move(builder).Take(complete);
}

}  // namespace kata::oci
