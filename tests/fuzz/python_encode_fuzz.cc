// The worker's encoder of values: objects of any shape, made from the input, are refused with an exception of the
// contract's, or come back as what they were: a tuple as a list, a bytearray or memoryview as bytes.
#include "tests/fuzz/python.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "core/values/value_codec.h"
#include "python_ext/native/ref.h"
#include "python_ext/native/values.h"

namespace samovar::fuzz {
namespace {

using python::Ref;

// Classes whose objects are taken as what their base is, and one whose methods must not run.
PyObject* make_classes() {
  static constexpr char kSource[] =
      "import collections, enum\n"
      "class Str(str):\n    def __hash__(self): return 7\n    __eq__ = str.__eq__\n"
      "class Int(int): pass\n"
      "class Float(float): pass\n"
      "class Bytes(bytes):\n    def __new__(cls, of): return super().__new__(cls, b'' if isinstance(of, int) else of)\n"
      "class List(list):\n    def __iter__(self): raise SystemError('a method of the object ran')\n"
      "class Dict(dict):\n    def items(self): raise SystemError('a method of the object ran')\n"
      "class Tuple(tuple): pass\n"
      "class Color(enum.IntEnum):\n    RED = 1\n"
      "classes = [Str, Int, Float, Bytes, List, Dict, Tuple, collections.OrderedDict, Color, set, complex, object]\n";
  const Ref names = Ref::steal(PyDict_New());
  const Ref ran = Ref::steal(PyRun_String(kSource, Py_file_input, names.get(), names.get()));
  expect(ran.get() != nullptr, "the classes are made");
  return Py_NewRef(PyDict_GetItemString(names.get(), "classes"));
}

// A stack machine: each byte makes an object or puts some of the last ones together. So every input makes something.
class Machine {
 public:
  Machine(const std::uint8_t* data, std::size_t size) : at_(data), end_(data + size) {}
  ~Machine() {  // a list that holds itself would never go
    for (const Ref& cycle : cycles_) PyList_SetSlice(cycle.get(), 0, PyList_GET_SIZE(cycle.get()), nullptr);
  }

  // Owned by this machine.
  PyObject* run() {
    while (at_ != end_) step();
    if (stack_.size() != 1) push_list(stack_.size());
    return top();
  }

 private:
  // Objects are shared, their bytes are not: the weight of one is how many it would be.
  struct Item {
    Ref object;
    std::size_t weight = 1;
  };
  static constexpr std::size_t kWeightMax = 20'000;

  std::uint8_t byte() { return at_ == end_ ? 0 : *at_++; }
  std::string_view text() {
    const std::size_t wanted = byte() % 32;
    const std::size_t size = std::min(wanted, static_cast<std::size_t>(end_ - at_));
    const std::string_view taken(reinterpret_cast<const char*>(at_), size);
    at_ += size;
    return taken;
  }
  template <typename Number>
  Number number() {
    std::uint8_t bytes[sizeof(Number)];
    for (std::uint8_t& each : bytes) each = byte();
    return std::bit_cast<Number>(bytes);
  }

  PyObject* top() const { return stack_.empty() ? Py_None : stack_.back().object.get(); }
  Item pop() {
    if (stack_.empty()) return {Ref::borrow(Py_None)};
    Item item = std::move(stack_.back());
    stack_.pop_back();
    return item;
  }
  // Takes it over. Null: there is no such object, as of an unhashable key.
  void push(PyObject* object, std::size_t weight = 1) {
    if (object == nullptr) PyErr_Clear();
    if (object == nullptr || weight > kWeightMax) {
      Py_XDECREF(object);
    } else {
      stack_.push_back({Ref::steal(object), weight});
    }
  }

  void push_list(std::size_t count) {
    count = std::min(count, stack_.size());
    Ref list = Ref::steal(PyList_New(static_cast<Py_ssize_t>(count)));
    std::size_t weight = 1;
    for (std::size_t i = count; i-- > 0;) {
      Item item = pop();
      weight += item.weight;
      PyList_SET_ITEM(list.get(), static_cast<Py_ssize_t>(i), item.object.release());
    }
    push(list.release(), weight);
  }

  void push_dict(std::size_t count) {
    Ref dict = Ref::steal(PyDict_New());
    std::size_t weight = 1;
    while (count-- > 0) {
      const Item value = pop();
      const Item key = pop();
      weight += key.weight + value.weight;
      if (PyDict_SetItem(dict.get(), key.object.get(), value.object.get()) != 0) PyErr_Clear();
    }
    push(dict.release(), weight);
  }

  void step() {
    const std::uint8_t code = byte();
    switch (code % 24) {
      case 0:
        return push(Py_NewRef(Py_None));
      case 1:
        return push(Py_NewRef(code < 128 ? Py_False : Py_True));
      case 2:
        return push(PyLong_FromLong(static_cast<std::int8_t>(byte())));
      case 3:
        return push(PyLong_FromLongLong(number<std::int64_t>()));
      case 4:
        return push(PyFloat_FromDouble(number<double>()));
      case 5: {  // ASCII or Latin-1
        const std::string_view characters = text();
        return push(PyUnicode_DecodeLatin1(characters.data(), static_cast<Py_ssize_t>(characters.size()), nullptr));
      }
      case 6: {  // with code points of two and four bytes, and lone surrogates
        const std::string_view characters = text();
        return push(PyUnicode_DecodeUTF8(characters.data(), static_cast<Py_ssize_t>(characters.size()), "surrogateescape"));
      }
      case 7:
        return push(PyUnicode_FromOrdinal(number<std::uint16_t>() << 5U));
      case 8: {
        const std::string_view characters = text();
        return push(PyBytes_FromStringAndSize(characters.data(), static_cast<Py_ssize_t>(characters.size())));
      }
      case 9: {
        const std::string_view characters = text();
        return push(PyByteArray_FromStringAndSize(characters.data(), static_cast<Py_ssize_t>(characters.size())));
      }
      case 10:
        return push(PyMemoryView_FromObject(top()));
      case 11: {  // every second one of a sequence, backwards
        const Ref step = Ref::steal(PyLong_FromLong(-2));
        const Ref slice = Ref::steal(PySlice_New(nullptr, nullptr, step.get()));
        return push(PyObject_GetItem(top(), slice.get()), stack_.empty() ? 1 : stack_.back().weight);
      }
      case 12:
        return push_list(byte() % 8);
      case 13: {
        push_list(byte() % 8);
        const Item list = pop();
        return push(PySequence_Tuple(list.object.get()), list.weight);
      }
      case 14:
        return push_dict(byte() % 8);
      case 15: {  // as an object of one of the classes
        const Item item = pop();
        PyObject* of = PyList_GET_ITEM(classes(), byte() % PyList_GET_SIZE(classes()));
        return push(PyObject_CallOneArg(of, item.object.get()), item.weight);
      }
      case 16:
        return push(Py_NewRef(top()), stack_.empty() ? 1 : stack_.back().weight);  // the same object once more
      case 17:                                                                     // a list in itself
        if (!PyList_CheckExact(top())) return;
        cycles_.push_back(Ref::borrow(top()));
        PyList_Append(top(), top());
        return;
      case 18:  // deep
        for (std::size_t levels = byte() % 80; levels-- > 0;) push_list(1);
        return;
      case 19:
        return push(PyLong_FromUnsignedLongLong(~0ULL - byte()));
      case 20: {  // larger than any that can be sent
        const Ref shift = Ref::steal(PyLong_FromLong(byte()));
        const Ref value = Ref::steal(PyLong_FromLongLong(number<std::int32_t>()));
        return push(PyNumber_Lshift(value.get(), shift.get()));
      }
      case 21: {  // wide
        push_list(1);
        const Item one = pop();
        const std::size_t times = byte() * 5U;
        if (one.weight * times <= kWeightMax)
          push(PySequence_Repeat(one.object.get(), static_cast<Py_ssize_t>(times)), one.weight * times + 1);
        return;
      }
      default:
        pop();
    }
  }

  static PyObject* classes() {
    static PyObject* const made = make_classes();  // lives as long as the interpreter
    return made;
  }

  const std::uint8_t* at_;
  const std::uint8_t* end_;
  std::vector<Item> stack_;
  std::vector<Ref> cycles_;
};

bool same(PyObject* sent, PyObject* back, int depth = 0);

bool same_items(PyObject* sent, PyObject* back, int depth) {
  const Py_ssize_t size = PySequence_Fast_GET_SIZE(sent);
  if (!PyList_CheckExact(back) || PyList_GET_SIZE(back) != size) return false;
  for (Py_ssize_t i = 0; i < size; ++i) {
    if (!same(PySequence_Fast_GET_ITEM(sent, i), PyList_GET_ITEM(back, i), depth + 1)) return false;
  }
  return true;
}

bool same_entries(PyObject* sent, PyObject* back, int depth) {
  if (!PyDict_CheckExact(back) || PyDict_GET_SIZE(sent) != PyDict_GET_SIZE(back)) return false;
  Py_ssize_t at = 0;
  Py_ssize_t back_at = 0;
  PyObject *key, *value, *back_key, *back_value;
  while (PyDict_Next(sent, &at, &key, &value)) {
    if (!PyDict_Next(back, &back_at, &back_key, &back_value)) return false;
    if (!same(key, back_key, depth + 1) || !same(value, back_value, depth + 1)) return false;
  }
  return true;
}

bool same_bytes(PyObject* sent, PyObject* back) {
  const Ref bytes = Ref::steal(PyBytes_FromObject(sent));
  return PyBytes_CheckExact(back) && PyObject_RichCompareBool(bytes.get(), back, Py_EQ) == 1;
}

// As the contract has it: VALUES.md.
bool same(PyObject* sent, PyObject* back, int depth) {
  expect(depth <= 130, "what was taken is not deeper than 64 levels");
  if (sent == Py_None || PyBool_Check(sent)) return sent == back;
  if (PyLong_Check(sent)) return PyLong_CheckExact(back) && PyObject_RichCompareBool(sent, back, Py_EQ) == 1;
  if (PyUnicode_Check(sent)) return PyUnicode_CheckExact(back) && PyUnicode_Compare(sent, back) == 0;
  if (PyFloat_Check(sent)) {
    const double left = PyFloat_AS_DOUBLE(sent);
    const double right = PyFloat_CheckExact(back) ? PyFloat_AS_DOUBLE(back) : 0.0;
    return PyFloat_CheckExact(back) && std::memcmp(&left, &right, sizeof left) == 0;
  }
  if (PyList_Check(sent) || PyTuple_Check(sent)) return same_items(sent, back, depth);
  if (PyDict_Check(sent)) return same_entries(sent, back, depth);
  return same_bytes(sent, back);
}

}  // namespace

std::vector<Input> seeds() {
  return {
      {0, 1, 145, 2, 200},                                              // None, False, True, -56
      {3, 0, 0, 0, 0, 0, 0, 0, 128, 19, 0, 20, 64, 1, 0, 0, 0},         // the least int, the greatest, and one too large
      {4, 0, 0, 0, 0, 0, 0, 248, 127, 4, 0, 0, 0, 0, 0, 0, 0, 128},     // nan, -0.0
      {5, 3, 'a', 'b', 0xe9, 6, 4, 0xe2, 0x82, 0xac, 'x', 6, 1, 0xff},  // text of each width, a lone surrogate
      {7, 0xc0, 0x06, 7, 0xff, 0xff},                                   // another one; text of four bytes a code point
      {8, 2, 0, 0xff, 9, 3, 1, 2, 3, 10, 11, 12, 4},                    // bytes, bytearray, a view, one with steps
      {2, 1, 2, 2, 12, 2, 13, 1, 5, 1, 'v', 14, 1},                     // list, tuple, dict
      {5, 1, 'k', 2, 7, 5, 1, 'j', 0, 14, 2, 15, 5},                    // {"j": None, "k": 7} as a Dict
      {2, 1, 2, 1, 145, 0, 14, 2},                                      // keys that are equal: 1, True
      {5, 1, 'a', 0, 5, 1, 'a', 15, 0, 0, 14, 2},                       // and "a", in a class that hashes otherwise
      {2, 9, 12, 1, 17},                                                // a list that holds itself
      {2, 9, 18, 64},                                                   // as deep as may be
      {2, 9, 18, 65},                                                   // deeper
      {5, 1, 'k', 2, 9, 14, 1, 18, 62},                                 // a dict at the bottom
      {2, 5, 21, 255, 16, 16, 12, 3},                                   // wide, and the same three times
      {5, 1, 'x', 15, 0, 2, 1, 15, 1, 12, 2, 15, 4},                    // objects of derived classes
      {2, 1, 15, 8, 2, 1, 12, 1, 15, 9, 12, 2},                         // an enum, and a set, which is refused
  };
}

}  // namespace samovar::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace samovar;
  using fuzz::expect;
  fuzz::start_python();
  fuzz::Machine machine(data, size);
  PyObject* object = machine.run();
  expect(PyErr_Occurred() == nullptr, "the machine leaves no exception");

  python::ValueEncoder encoder;
  if (!encoder.encode(object)) {
    expect(fuzz::take_error({PyExc_TypeError, PyExc_OverflowError, PyExc_ValueError}),
           "a refusal is an exception of the contract's");
    expect(encoder.encode(Py_None) && encoder.bytes().size() == 3, "an encoder serves on after a refusal");
  } else {
    const auto back = python::Ref::steal(python::decode_value(encoder.bytes()));
    expect(back.get() != nullptr, "what was encoded can be decoded");
    expect(fuzz::same(object, back.get()), "it comes back as what it was");
    expect(core::decode_value(encoder.bytes()).has_value(), "the host takes it, too");
  }
  return 0;
}
