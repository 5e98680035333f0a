#include "python_ext/native/schema_scalars.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "python_ext/native/ref.h"

namespace samovar::python {
namespace {

template <class T>
bool store(T value, std::uint8_t* out) {
  std::memcpy(out, &value, sizeof(T));
  return true;
}

std::string expected(const Field& field) {
  if (field.enumeration != nullptr) return "a " + field.enumeration->short_name + " (" + name_of(field.scalar) + ")";
  switch (field.scalar) {
    case Scalar::boolean: return "a bool";
    case Scalar::f32:
    case Scalar::f64: return "a float";
    default: return "an int";
  }
}

bool wrong_type(const Field& field, PyObject* object, const Path& path) {
  return fail_at(path, PyExc_TypeError, a_thing(object) + " where " + expected(field) + " is expected");
}

// Puts the path in front of what user code has raised as a TypeError; other exceptions pass.
bool raised(const Field& field, PyObject* object, const Path& path) {
  if (PyErr_ExceptionMatches(PyExc_TypeError) == 0) return false;
  PyErr_Clear();
  return wrong_type(field, object, path);
}

bool write_float(const Field& field, PyObject* object, std::uint8_t* out, const Path& path) {
  double value;
  if (PyFloat_CheckExact(object)) {
    value = PyFloat_AS_DOUBLE(object);
  } else {
    const PyNumberMethods* number = Py_TYPE(object)->tp_as_number;
    if (number == nullptr || (number->nb_float == nullptr && number->nb_index == nullptr)) return wrong_type(field, object, path);
    value = PyFloat_AsDouble(object);
    if (value == -1.0 && PyErr_Occurred()) {
      if (PyErr_ExceptionMatches(PyExc_OverflowError) == 0) return raised(field, object, path);
      PyErr_Clear();
      return fail_at(path, PyExc_OverflowError, "an int is too large for a float");
    }
  }
  if (field.scalar == Scalar::f64) return store(value, out);
  if (std::isfinite(value) && std::abs(value) > static_cast<double>(std::numeric_limits<float>::max())) {
    const Ref shown = Ref::steal(PyFloat_FromDouble(value));
    const Ref text = shown ? Ref::steal(PyObject_Repr(shown.get())) : Ref();
    const char* utf8 = text ? PyUnicode_AsUTF8(text.get()) : nullptr;
    if (utf8 == nullptr) return false;
    return fail_at(path, PyExc_OverflowError, std::string(utf8) + " is out of range of float (single precision)");
  }
  return store(static_cast<float>(value), out);
}

bool write_bool(const Field& field, PyObject* object, std::uint8_t* out, const Path& path) {
  if (PyBool_Check(object)) return store<std::uint8_t>(object == Py_True, out);
  const std::string_view type = Py_TYPE(object)->tp_name;
  if (type != "numpy.bool_" && type != "numpy.bool") return wrong_type(field, object, path);
  const int truth = PyObject_IsTrue(object);
  return truth >= 0 && store<std::uint8_t>(truth == 1, out);
}

bool out_of_range(const Field& field, PyObject* number, const Path& path) {
  const std::uint32_t bits = 8 * width_of(field.scalar);
  const bool is_signed = field.scalar == Scalar::i8 || field.scalar == Scalar::i16 || field.scalar == Scalar::i32 || field.scalar == Scalar::i64;
  const std::uint64_t most = is_signed ? (std::uint64_t{1} << (bits - 1)) - 1 : ~std::uint64_t{0} >> (64 - bits);
  const std::string range = (is_signed ? "-" + std::to_string(most + 1) : std::string("0")) + " to " + std::to_string(most);
  // An int of very many digits has no str.
  int overflow = 0;
  const long long small = PyLong_AsLongLongAndOverflow(number, &overflow);
  const std::string shown = overflow == 0 ? std::to_string(small) : "an int";
  return fail_at(path, PyExc_OverflowError, shown + " is out of range of " + name_of(field.scalar) + " (" + range + ")");
}

bool write_integer(const Field& field, PyObject* object, std::uint8_t* out, const Path& path) {
  Ref owned;
  PyObject* number = object;
  if (!PyLong_Check(object)) {
    if (field.enumeration != nullptr && PyUnicode_Check(object)) {
      const char* name = PyUnicode_AsUTF8(object);
      if (name == nullptr) PyErr_Clear();
      const EnumValue* value = name != nullptr ? field.enumeration->find(std::string_view(name)) : nullptr;
      if (value == nullptr) return fail_at(path, PyExc_ValueError, field.enumeration->short_name + " has no value of that name");
      std::memcpy(out, &value->number, width_of(field.scalar));
      return true;
    }
    if (!PyIndex_Check(object)) return wrong_type(field, object, path);
    owned = Ref::steal(PyNumber_Index(object));
    if (!owned) return raised(field, object, path);
    number = owned.get();
  }
  if (field.scalar == Scalar::u64) {
    const unsigned long long value = PyLong_AsUnsignedLongLong(number);
    if (value == static_cast<unsigned long long>(-1) && PyErr_Occurred()) {
      PyErr_Clear();
      return out_of_range(field, number, path);
    }
    return store<std::uint64_t>(value, out);
  }
  int overflow = 0;
  const long long value = PyLong_AsLongLongAndOverflow(number, &overflow);
  const auto fits = [&]<class T>(T) {
    if (overflow != 0 || value < static_cast<long long>(std::numeric_limits<T>::min()) ||
        value > static_cast<long long>(std::numeric_limits<T>::max())) {
      return out_of_range(field, number, path);
    }
    return store(static_cast<T>(value), out);
  };
  switch (field.scalar) {
    case Scalar::i8: return fits(std::int8_t{});
    case Scalar::u8: return fits(std::uint8_t{});
    case Scalar::i16: return fits(std::int16_t{});
    case Scalar::u16: return fits(std::uint16_t{});
    case Scalar::i32: return fits(std::int32_t{});
    case Scalar::u32: return fits(std::uint32_t{});
    default: return fits(std::int64_t{});
  }
}

// Whether a buffer's element of `format` and `itemsize` is such a scalar. Native and little-endian are the same here.
bool is_format(Scalar scalar, const char* format, Py_ssize_t itemsize) {
  if (itemsize != static_cast<Py_ssize_t>(width_of(scalar))) return false;
  if (format == nullptr) return scalar == Scalar::u8;
  if (*format == '@' || *format == '=' || *format == '<') ++format;
  if (format[0] == '\0' || format[1] != '\0') return false;
  constexpr std::string_view kSigned = "bhilqn";
  constexpr std::string_view kUnsigned = "BHILQN";
  switch (scalar) {
    case Scalar::boolean: return *format == '?';
    case Scalar::f32: return *format == 'f';
    case Scalar::f64: return *format == 'd';
    case Scalar::i8: return *format == 'b' || *format == 'c';
    case Scalar::u8: return *format == 'B' || *format == 'c';
    case Scalar::i16:
    case Scalar::i32:
    case Scalar::i64: return kSigned.find(*format) != kSigned.npos;
    default: return kUnsigned.find(*format) != kUnsigned.npos;
  }
}

}  // namespace

std::string Path::to_string() const {
  std::vector<const Path*> steps;
  for (const Path* step = this; step != nullptr; step = step->up) steps.push_back(step);
  std::string text;
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    if ((*step)->name == nullptr) {
      text.append("[").append(std::to_string((*step)->index)).append("]");
    } else {
      text.append(text.empty() ? "" : ".").append((*step)->name);
    }
  }
  return text;
}

bool fail_at(const Path& path, PyObject* exception, const std::string& what) {
  PyErr_Format(exception, "%s: %s", path.to_string().c_str(), what.c_str());
  return false;
}

std::string a_thing(PyObject* object) {
  if (object == Py_None) return "None";
  const std::string name = Py_TYPE(object)->tp_name;
  return (name.find_first_of("aeiou") == 0 ? "an " : "a ") + name;
}

bool write_scalar(const Field& field, PyObject* object, std::uint8_t* out, const Path& path) {
  switch (field.scalar) {
    case Scalar::boolean: return write_bool(field, object, out, path);
    case Scalar::f32:
    case Scalar::f64: return write_float(field, object, out, path);
    default: return write_integer(field, object, out, path);
  }
}

bool check_array(const Field& field, const Py_buffer& view, const Path& path) {
  const std::string wanted = std::string("[") + name_of(field.scalar) + "]";
  if (view.ndim != 1) {
    return fail_at(path, PyExc_TypeError,
                   "an array of " + std::to_string(view.ndim) + " dimensions where " + wanted + " has one: pass array.ravel()");
  }
  if (!is_format(field.scalar, view.format, view.itemsize)) {
    return fail_at(path, PyExc_TypeError, std::string("an array of format '") + (view.format != nullptr ? view.format : "B") + "' where " + wanted +
                                              " is expected: convert it to '" + buffer_format(field.scalar) + "' (array.astype)");
  }
  return true;
}

}  // namespace samovar::python
