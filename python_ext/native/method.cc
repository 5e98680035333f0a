#include "python_ext/native/method.h"

#include <concepts>
#include <cstdint>
#include <string>
#include <utility>

#include "python_ext/native/errors.h"
#include "python_ext/native/schema_object.h"

namespace samovar::python {
namespace {

// Attributes of one object. Once one is not there or is no T, an exception is set and the rest is empty.
class Attributes {
 public:
  explicit Attributes(PyObject* object) : object_(Ref::borrow(object)) {}

  Ref object(const char* name) {
    if (failed()) return {};
    return Ref::steal(PyObject_GetAttrString(object_.get(), name));
  }

  std::string text(const char* name) { return to_utf8(object(name).get()); }

  bool flag(const char* name) {
    const Ref value = object(name);
    return value && PyObject_IsTrue(value.get()) == 1;
  }

  template <std::integral T>
  T number(const char* name) {
    const Ref value = object(name);
    const long long number = value ? PyLong_AsLongLong(value.get()) : 0;
    if (!failed() && !std::in_range<T>(number)) PyErr_Format(PyExc_OverflowError, "%s of a method is out of range", name);
    return static_cast<T>(number);
  }

  // "numpy", None, or something to call with each.
  TensorMaker tensors(const char* name) {
    Ref value = object(name);
    if (!value || PyUnicode_Check(value.get())) return {};
    if (value.get() == Py_None) return {.kind = TensorMaker::Kind::tensor};
    return {.kind = TensorMaker::Kind::callable, .callable = std::move(value)};
  }

  static bool failed() { return PyErr_Occurred() != nullptr; }

 private:
  Ref object_;
};

}  // namespace

bool read_methods(PyObject* sequence, std::vector<Method>& methods) {
  const Ref items = Ref::steal(PySequence_Fast(sequence, "methods must be a sequence"));
  if (!items) return false;
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(items.get()); ++i) {
    Attributes method(PySequence_Fast_GET_ITEM(items.get(), i));
    Ref function = method.object("function");
    Ref schema = method.object("schema");
    if (schema.get() == Py_None) schema.reset();
    if (schema && !is_schema(schema.get())) PyErr_SetString(PyExc_TypeError, "schema of a method is no samovar.schema()");
    const Ref its_limits = method.object("limits");
    if (!its_limits) return false;
    Attributes limits(its_limits.get());
    methods.push_back({.described = {.name = method.text("name"),
                                     .positional_min = limits.number<std::uint32_t>("positional_min"),
                                     .positional_max = limits.number<std::uint32_t>("positional_max"),
                                     .keyword = limits.text("keyword"),
                                     .signature = limits.text("signature"),
                                     .stream = method.flag("stream"),
                                     .asynchronous = method.flag("asynchronous"),
                                     .batch_max = method.number<std::uint32_t>("batch_max"),
                                     .batch_wait_ns = method.number<std::int64_t>("batch_wait_ns")},
                       .function = std::move(function),
                       .wants_ctx = method.flag("wants_ctx"),
                       .schema = std::move(schema),
                       .tensors = method.tensors("tensors")});
    if (Attributes::failed()) return false;
  }
  return true;
}

}  // namespace samovar::python
