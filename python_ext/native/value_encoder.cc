#include "python_ext/native/values.h"

#include <cstring>
#include <exception>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "python_ext/native/ref.h"
#include "python_ext/native/utf8.h"

namespace samovar::python {
namespace {

bool is_exact_key(PyObject* key) {
  PyTypeObject* type = Py_TYPE(key);
  return type == &PyUnicode_Type || type == &PyLong_Type || key == Py_None || type == &PyBool_Type ||
         type == &PyFloat_Type || type == &PyBytes_Type;
}

// Walks one object. On failure the steps of the path are collected as the recursion unwinds; success pays nothing for them.
class Walk {
 public:
  explicit Walk(ipc::ValueWriter& writer) : writer_(writer) {}

  bool value(PyObject* object, int depth) {
    PyTypeObject* type = Py_TYPE(object);
    if (type == &PyUnicode_Type) return text(object, depth);
    if (type == &PyLong_Type) return integer(object);
    if (type == &PyFloat_Type) return number(object);
    if (object == Py_None) {
      writer_.null();
      return true;
    }
    if (type == &PyBool_Type) {
      writer_.boolean(object == Py_True);
      return true;
    }
    if (type == &PyList_Type) return list(object, depth);
    if (type == &PyDict_Type) return dict(object, depth);
    if (type == &PyTuple_Type) return tuple(object, depth);
    if (type == &PyBytes_Type) return blob(PyBytes_AS_STRING(object), PyBytes_GET_SIZE(object), depth);
    return value_of_subclass(object, depth);
  }

  // Sets the exception: `root["a"][3]: why`. Requires: value() returned false.
  void raise(const char* root) {
    if (exception_ == nullptr) {
      PyErr_Restore(raised_type_, raised_, raised_traceback_);
      return;
    }
    constexpr std::size_t kFirst = 8;
    constexpr std::size_t kLast = 2;
    std::string message(root);
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      if (i == kFirst && steps_.size() > kFirst + kLast) {
        message += "...";
        i = steps_.size() - kLast;
      }
      message += steps_[steps_.size() - 1 - i];
    }
    message += ": " + why_;
    PyErr_SetString(exception_, message.c_str());
  }

 private:
  bool value_of_subclass(PyObject* object, int depth) {
    if (PyUnicode_Check(object)) return text(object, depth);
    if (PyLong_Check(object)) return integer(object);
    if (PyFloat_Check(object)) return number(object);
    if (PyList_Check(object)) return list(object, depth);
    if (PyDict_Check(object)) return dict(object, depth);
    if (PyTuple_Check(object)) return tuple(object, depth);
    if (PyBytes_Check(object)) return blob(PyBytes_AS_STRING(object), PyBytes_GET_SIZE(object), depth);
    // The array itself, as a subclass may define __buffer__.
    if (PyByteArray_Check(object)) return blob(PyByteArray_AS_STRING(object), PyByteArray_GET_SIZE(object), depth);
    if (PyMemoryView_Check(object)) return memory(object, depth);
    const std::string name = Py_TYPE(object)->tp_name;
    if (name == "numpy.ndarray") {
      return fail(PyExc_TypeError, name + " is not supported in a value (.tolist() makes it one)");
    }
    for (const PyTypeObject* base = Py_TYPE(object); base != nullptr; base = base->tp_base) {
      if (std::strcmp(base->tp_name, "numpy.generic") != 0) continue;
      return fail(PyExc_TypeError, name + " is not supported in a value (.item() makes it one)");
    }
    return fail(PyExc_TypeError, name + " is not supported");
  }

  bool integer(PyObject* object) {
    int overflow = 0;
    const long long value = PyLong_AsLongLongAndOverflow(object, &overflow);
    if (overflow == 0) {
      writer_.integer(value);
      return true;
    }
    if (overflow > 0) {
      const unsigned long long unsigned_value = PyLong_AsUnsignedLongLong(object);
      if (unsigned_value != static_cast<unsigned long long>(-1) || PyErr_Occurred() == nullptr) {
        writer_.unsigned_integer(unsigned_value);
        return true;
      }
      PyErr_Clear();
    }
    return fail(PyExc_OverflowError, "int is outside -2**63 .. 2**64-1");
  }

  bool number(PyObject* object) {
    writer_.number(PyFloat_AS_DOUBLE(object));
    return true;
  }

  // Not PyUnicode_AsUTF8AndSize(): that keeps the UTF-8 in the str for as long as it lives.
  bool text(PyObject* object, int depth) {
    if (depth + 1 > ipc::kValueDepthMax) return too_deep();
#if PY_VERSION_HEX < 0x030c0000
    if (PyUnicode_READY(object) != 0) return fail_raised();
#endif
    const Py_ssize_t size = PyUnicode_GET_LENGTH(object);
    if (PyUnicode_IS_ASCII(object)) {
      writer_.text({static_cast<const char*>(PyUnicode_DATA(object)), static_cast<std::size_t>(size)});
      return true;
    }
    switch (PyUnicode_KIND(object)) {
      case PyUnicode_1BYTE_KIND: return code_points(PyUnicode_1BYTE_DATA(object), size);
      case PyUnicode_2BYTE_KIND: return code_points(PyUnicode_2BYTE_DATA(object), size);
      default: return code_points(PyUnicode_4BYTE_DATA(object), size);
    }
  }
  template <class CodePoint>
  bool code_points(const CodePoint* from, Py_ssize_t size) {
    const Py_ssize_t bytes = utf8_size(from, size);
    if (bytes < 0) return fail(PyExc_ValueError, "a str with a lone surrogate is not supported");
    write_utf8(writer_.open_text(static_cast<std::size_t>(bytes)), from, size);
    return true;
  }

  bool blob(const void* data, Py_ssize_t size, int depth) {
    if (depth + 1 > ipc::kValueDepthMax) return too_deep();
    writer_.blob(data, static_cast<std::size_t>(size));
    return true;
  }

  bool memory(PyObject* object, int depth) {
    Py_buffer view;
    if (PyObject_GetBuffer(object, &view, PyBUF_SIMPLE) != 0) {
      PyErr_Clear();
      return fail(PyExc_ValueError, "a memoryview that is released or not contiguous is not supported");
    }
    struct Release {
      Py_buffer* view;
      ~Release() { PyBuffer_Release(view); }
    } release{&view};
    return blob(view.buf, view.len, depth);
  }

  bool list(PyObject* object, int depth) {
    if (depth + 1 > ipc::kValueDepthMax) return too_deep();
    const std::size_t first = writer_.open_count();
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(object); ++i) {
      const Ref item = Ref::borrow(PyList_GET_ITEM(object, i));
      if (!value(item.get(), depth + 1)) return step(i);
    }
    writer_.close_list(first);
    return true;
  }

  bool tuple(PyObject* object, int depth) {
    if (depth + 1 > ipc::kValueDepthMax) return too_deep();
    const std::size_t first = writer_.open_count();
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(object); ++i) {
      if (!value(PyTuple_GET_ITEM(object, i), depth + 1)) return step(i);
    }
    writer_.close_list(first);
    return true;
  }

  // Goes through the dict twice: all keys, then all values.
  bool dict(PyObject* object, int depth) {
    if (depth + 2 > ipc::kValueDepthMax) return too_deep();
    if (PyODict_Check(object)) return ordered_dict(object, depth);
    const Py_ssize_t size = PyDict_GET_SIZE(object);
    PyObject* key = nullptr;
    PyObject* item = nullptr;
    bool is_exact = true;
    Py_ssize_t at = 0;
    const std::size_t keys_first = writer_.open_count();
    while (PyDict_Next(object, &at, &key, &item) != 0) {
      const Ref owned = Ref::borrow(key);
      if (!this->key(key, depth + 2, is_exact)) return false;
    }
    const std::size_t key_count = writer_.open_count() - keys_first;
    writer_.close_list(keys_first);
    at = 0;
    const std::size_t first = writer_.open_count();
    while (PyDict_Next(object, &at, &key, &item) != 0) {
      const Ref owned_key = Ref::borrow(key);
      const Ref owned_item = Ref::borrow(item);
      if (!value(item, depth + 2)) return step(key);
    }
    if (writer_.open_count() - first != key_count || PyDict_GET_SIZE(object) != size) {
      return fail(PyExc_RuntimeError, "dict changed while it was encoded");
    }
    writer_.close_list(first);
    writer_.close_dict();
    return is_exact || keys_stay_different(object);
  }

  // Its own order, which PyDict_Next() does not know once move_to_end() was used.
  bool ordered_dict(PyObject* object, int depth) {
    const Ref items = Ref::steal(PyObject_CallMethod(reinterpret_cast<PyObject*>(&PyODict_Type), "items", "O", object));
    const Ref entries = items ? Ref::steal(PySequence_List(items.get())) : Ref();
    if (!entries) return fail_raised();
    const Py_ssize_t count = PyList_GET_SIZE(entries.get());
    const auto part = [&](Py_ssize_t i, Py_ssize_t which) {
      return PyTuple_GET_ITEM(PyList_GET_ITEM(entries.get(), i), which);
    };
    bool is_exact = true;
    std::size_t first = writer_.open_count();
    for (Py_ssize_t i = 0; i < count; ++i) {
      if (!key(part(i, 0), depth + 2, is_exact)) return false;
    }
    writer_.close_list(first);
    first = writer_.open_count();
    for (Py_ssize_t i = 0; i < count; ++i) {
      if (!value(part(i, 1), depth + 2)) return step(part(i, 0));
    }
    writer_.close_list(first);
    writer_.close_dict();
    return is_exact || keys_stay_different(object);
  }

  bool key(PyObject* key, int depth, bool& is_exact) {
    if (!is_exact_key(key)) {
      is_exact = false;
      if (!PyUnicode_Check(key) && !PyLong_Check(key) && !PyFloat_Check(key) && !PyBytes_Check(key)) {
        fail(PyExc_TypeError, std::string(Py_TYPE(key)->tp_name) + " is not supported as a key");
        return step(key);
      }
    }
    return value(key, depth) || step(key);
  }

  // Keys of the user's own classes may differ here and be equal once they are plain: the other side would refuse them.
  bool keys_stay_different(PyObject* dict) {
    const Ref plain_keys = Ref::steal(PySet_New(nullptr));
    if (!plain_keys) return fail_raised();
    PyObject* key = nullptr;
    Py_ssize_t at = 0;
    Py_ssize_t count = 0;
    while (PyDict_Next(dict, &at, &key, nullptr) != 0) {
      const Ref owned = Ref::borrow(key);
      const Ref plain = plain_key(key);
      if (!plain || PySet_Add(plain_keys.get(), plain.get()) != 0) return fail_raised();
      if (PySet_GET_SIZE(plain_keys.get()) != ++count) {
        fail(PyExc_ValueError, "two keys are equal once they are plain");
        return step(key);
      }
    }
    return true;
  }
  static Ref plain_key(PyObject* key) {
    if (PyUnicode_Check(key)) return Ref::steal(PyUnicode_FromObject(key));
    if (PyFloat_Check(key)) return Ref::steal(PyFloat_FromDouble(PyFloat_AS_DOUBLE(key)));
    if (PyBytes_Check(key)) return Ref::steal(PyBytes_FromStringAndSize(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key)));
    if (!PyLong_Check(key) || PyBool_Check(key)) return Ref::borrow(key);
    int overflow = 0;
    const long long value = PyLong_AsLongLongAndOverflow(key, &overflow);
    if (overflow == 0) return Ref::steal(PyLong_FromLongLong(value));
    return Ref::steal(PyLong_FromUnsignedLongLong(PyLong_AsUnsignedLongLong(key)));
  }

  [[gnu::noinline, gnu::cold]] bool fail(PyObject* exception, std::string why) {
    exception_ = exception;
    why_ = std::move(why);
    return false;
  }
  // Keeps the exception that is set; it goes on as it is.
  [[gnu::noinline, gnu::cold]] bool fail_raised() {
    PyErr_Fetch(&raised_type_, &raised_, &raised_traceback_);
    return false;
  }
  bool too_deep() {
    return fail(PyExc_ValueError,
                "nested deeper than 64 levels (a list counts as one, a dict as two, a str or bytes as one)");
  }
  [[gnu::noinline, gnu::cold]] bool step(Py_ssize_t index) {
    steps_.push_back("[" + std::to_string(index) + "]");
    return false;
  }
  [[gnu::noinline, gnu::cold]] bool step(PyObject* key) {
    steps_.push_back("[" + shown_key(key) + "]");
    return false;
  }

  // `"a"`, `3`, `b'a'`, clipped, or `<tuple>`: runs no code of the user's.
  static std::string shown_key(PyObject* key) {
    constexpr Py_ssize_t kShownMax = 40;
    Ref shown;
    if (PyUnicode_Check(key)) {
      const Ref clipped = Ref::steal(PyUnicode_Substring(key, 0, kShownMax));
      const Ref plain = clipped ? Ref::steal(PyUnicode_FromObject(clipped.get())) : Ref();
      if (plain) shown = Ref::steal(PyObject_Repr(plain.get()));
    } else if (is_exact_key(key)) {
      const bool is_long = PyBytes_Check(key) && PyBytes_GET_SIZE(key) > kShownMax;
      Ref plain = Ref::borrow(key);
      if (is_long) plain = Ref::steal(PyBytes_FromStringAndSize(PyBytes_AS_STRING(key), kShownMax));
      if (plain) shown = Ref::steal(PyObject_Repr(plain.get()));
    }
    const char* text = shown ? PyUnicode_AsUTF8(shown.get()) : nullptr;
    if (text == nullptr) {
      PyErr_Clear();
      return "<" + std::string(Py_TYPE(key)->tp_name) + ">";
    }
    std::string result(text);
    if (PyUnicode_Check(key) && result.find('"') == result.npos) result.front() = result.back() = '"';
    return result.size() > 4 * kShownMax ? result.substr(0, kShownMax) + "..." : result;
  }

  ipc::ValueWriter& writer_;
  PyObject* exception_ = nullptr;  // a type, borrowed: one of Python's own
  std::string why_;
  std::vector<std::string> steps_;  // the innermost first
  PyObject* raised_type_ = nullptr;
  PyObject* raised_ = nullptr;
  PyObject* raised_traceback_ = nullptr;
};

}  // namespace

// GIL: held.
bool ValueEncoder::encode(PyObject* object, const char* root) {
  if (busy_) {
    PyErr_SetString(PyExc_RuntimeError, "a value is being encoded by this encoder already");
    return false;
  }
  busy_ = true;
  bytes_ = {};
  bool is_encoded = false;
  try {
    writer_.clear();
    Walk walk(writer_);
    is_encoded = walk.value(object, 0);
    if (is_encoded) {
      bytes_ = writer_.finish();
    } else {
      walk.raise(root);
    }
  } catch (const std::bad_alloc&) {
    is_encoded = false;
    PyErr_NoMemory();
  } catch (const std::exception& error) {
    is_encoded = false;
    PyErr_Format(PyExc_ValueError, "%s: %s", root, error.what());
  }
  busy_ = false;
  return is_encoded;
}

// GIL: held.
PyObject* py_encode_value(PyObject*, PyObject* object) {
  ValueEncoder encoder;
  if (!encoder.encode(object, "value")) return nullptr;
  const auto bytes = encoder.bytes();
  return PyBytes_FromStringAndSize(reinterpret_cast<const char*>(bytes.data()), static_cast<Py_ssize_t>(bytes.size()));
}

}  // namespace samovar::python
