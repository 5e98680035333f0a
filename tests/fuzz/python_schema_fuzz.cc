// FlatBuffers in a worker: any bytes are refused by the verifier, or every field of them can be read, also after the bytes have
// changed under the views; a copy of what was accepted is accepted again. What our verifier takes, that of FlatBuffers takes, too.
// Any bytes are refused as a schema, or one can be made of them, and it refuses or shows a buffer.
#include "tests/fuzz/python.h"

#include <flatbuffers/flatbuffers.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <vector>

#include "answer_generated.h"
#include "python_ext/native/ref.h"
#include "python_ext/native/schema_build.h"
#include "python_ext/native/schema_object.h"
#include "python_ext/native/schema_verify.h"
#include "python_ext/native/schema_view.h"

namespace samovar::fuzz {
namespace {

using python::Ref;

Input file(const std::string& name) {
  std::ifstream in(SAMOVAR_TEST_SCHEMAS "/" + name, std::ios::binary);
  expect(static_cast<bool>(in), "the schemas of the tests are there");
  return {std::istreambuf_iterator<char>(in), {}};
}

// A samovar.schema(), or null with an exception.
Ref make_schema(std::span<const std::uint8_t> bfbs) {
  start_python();
  static PyObject* const type = python::make_schema_type(PyModule_New("samovar_fuzz"));
  return Ref::steal(PyObject_CallFunction(type, "y#s", reinterpret_cast<const char*>(bfbs.data()), static_cast<Py_ssize_t>(bfbs.size()), "fuzzed"));
}

PyObject* shop() {
  static const Ref schema = make_schema(file("shop.bfbs"));
  expect(static_cast<bool>(schema), "shop.bfbs is a schema");
  return schema.get();
}

constexpr const char* kBuild = R"(
seeds = [bytes(built) for built in (
  shop.Answer(),
  shop.Answer(label="a", scores=[1, 2], words=[-1], flags=[True], maybe=0, level=-1),
  shop.Answer(items=[{"name": "n", "children": [{"score": 1}, {}]}, {"position": (1, 2, 3)}], best={"color": 8}, names=["", "x"]),
  shop.Answer(extra=shop.Note(text="t"), extras=[shop.Image(width=3, pixels=b"abc"), "words", shop.Vec3(1, 2, 3)]),
  shop.Answer(points=[(1, 2, 3)], mixed=(True, (1, 2, 3), 4, [1, 2, 3], [(1, 2, 3), (4, 5, 6)]), colors=[1, 8], big=1),
)]
)";

bool is_allowed_error() { return take_error({PyExc_ValueError, PyExc_RuntimeError}); }

// Reads everything. False: an exception is set.
bool touch(PyObject* object, int depth) {
  if (depth > 80) return true;
  if (python::is_view(object)) {
    for (const python::Field& field : python::view_of(object).table->fields) {
      const Ref value = Ref::steal(python::read_field(python::view_of(object), field));
      if (!value || !touch(value.get(), depth + 1)) return false;
    }
    const Ref shown = Ref::steal(PyObject_Repr(object));
    return static_cast<bool>(shown);
  }
  if (PyMemoryView_Check(object)) {
    const Ref bytes = Ref::steal(PyBytes_FromObject(object));
    return static_cast<bool>(bytes);
  }
  if (PyUnicode_Check(object) || !PySequence_Check(object)) return true;
  for (Py_ssize_t i = 0; i < std::min<Py_ssize_t>(PySequence_Size(object), 100); ++i) {
    const Ref item = Ref::steal(PySequence_GetItem(object, i));
    if (!item || !touch(item.get(), depth + 1)) return false;
  }
  return true;
}

void check_buffer(std::span<const std::uint8_t> bytes) {
  const Ref memory = Ref::steal(PyByteArray_FromStringAndSize(reinterpret_cast<const char*>(bytes.data()), static_cast<Py_ssize_t>(bytes.size())));
  const Ref view = Ref::steal(python::view_in_place(shop(), memory.get(), "the FlatBuffer"));
  if (!view) return expect(take_error({PyExc_ValueError}), "a refusal is a ValueError");
  if (!touch(view.get(), 0)) expect(take_error({PyExc_ValueError}), "what was verified can be read, but for strings that are no UTF-8");

  const Ref copy = Ref::steal(python::rebuilt(view.get()));
  if (copy) {
    const Ref again = Ref::steal(PyObject_CallMethod(shop(), "view", "O", copy.get()));
    expect(static_cast<bool>(again), "a copy verifies");
  } else {
    expect(take_error({PyExc_ValueError}), "what was verified can be copied, unless its parts are shared until it is too large");
  }

  // The bytes change, driven by themselves.
  char* mutable_bytes = PyByteArray_AS_STRING(memory.get());
  std::uint32_t state = 1;
  for (const std::uint8_t byte : bytes) state = state * 31 + byte;
  for (int i = 0; i < 8; ++i) {
    state = state * 1664525 + 1013904223;
    mutable_bytes[state % bytes.size()] = static_cast<char>(state >> 24);
    if (!touch(view.get(), 0)) expect(is_allowed_error(), "changed bytes are told, or read");
    const Ref changed = Ref::steal(python::rebuilt(view.get()));
    if (!changed) expect(is_allowed_error(), "changed bytes are told, or copied");
  }
}

// Our verifier against the generated one, which knows nothing that ours does not.
void check_verifiers(std::span<const std::uint8_t> bytes) {
  static const auto schema = [] {
    const Input bfbs = file("answer.bfbs");
    return std::move(std::get<0>(python::read_schema(std::as_bytes(std::span(bfbs)))));
  }();
  std::vector<std::uint64_t> aligned(bytes.size() / 8 + 2);
  auto* copy = reinterpret_cast<std::uint8_t*>(aligned.data());
  if (!bytes.empty()) std::memcpy(copy, bytes.data(), bytes.size());
  if (bytes.size() >= 8) std::copy_n("ANSW", 4, copy + 4);
  python::TableAt root;
  if (!python::verify(*schema, {copy, static_cast<std::uint32_t>(bytes.size())}, root).empty()) return;
  flatbuffers::Verifier verifier(copy, bytes.size());
  flatbuffers::Verifier sized(copy, bytes.size());
  expect(fbs::VerifyAnswerBuffer(verifier) || fbs::VerifySizePrefixedAnswerBuffer(sized), "what ours takes, the generated one takes");
}

void check_schema(std::span<const std::uint8_t> bytes) {
  const Ref schema = make_schema(bytes);
  if (!schema) return expect(take_error({PyExc_ValueError, PyExc_TypeError, PyExc_AttributeError}), "what is no schema is refused");
  static const Input buffer = [] {
    const Ref empty = Ref::steal(PyObject_CallMethod(shop(), "Answer", nullptr));
    expect(static_cast<bool>(empty), "an empty table can be built");
    const auto& view = python::view_of(empty.get()).buffer->bytes;
    return Input(view.data, view.data + view.size);
  }();
  const Ref view = Ref::steal(python::view_copy(schema.get(), std::as_bytes(std::span(buffer)), "the FlatBuffer"));
  if (!view) return expect(take_error({PyExc_ValueError}), "a buffer is refused with a ValueError");
  if (!touch(view.get(), 0)) expect(is_allowed_error(), "what was verified can be read");
}

}  // namespace

std::vector<Input> seeds() {
  std::vector<Input> all{file("answer.bfbs"), file("shop.bfbs")};
  start_python();
  const Ref names = Ref::steal(PyDict_New());
  PyDict_SetItemString(names.get(), "shop", shop());
  PyDict_SetItemString(names.get(), "__builtins__", PyEval_GetBuiltins());
  const Ref done = Ref::steal(PyRun_String(kBuild, Py_file_input, names.get(), names.get()));
  if (!done) PyErr_Print();
  expect(static_cast<bool>(done), "the seeds can be built");
  PyObject* built = PyDict_GetItemString(names.get(), "seeds");
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(built); ++i) {
    PyObject* bytes = PyList_GET_ITEM(built, i);
    const auto* first = reinterpret_cast<const std::uint8_t*>(PyBytes_AS_STRING(bytes));
    all.emplace_back(first, first + PyBytes_GET_SIZE(bytes));
  }
  flatbuffers::FlatBufferBuilder builder;
  const std::vector<float> scores{1, 2, 3};
  const auto item = fbs::CreateItemDirect(builder, "first", 1.5F, fbs::Color::Red);
  const std::vector<flatbuffers::Offset<fbs::Item>> items{item};
  fbs::FinishAnswerBuffer(builder, fbs::CreateAnswerDirect(builder, "label", 0.5, 3, &scores, &items, item));
  all.emplace_back(builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize());
  return all;
}

}  // namespace samovar::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace samovar::fuzz;
  start_python();
  const std::span<const std::uint8_t> bytes(data, size);
  if (size >= 8 && std::equal(data + 4, data + 8, "BFBS")) {
    check_schema(bytes);
  } else {
    check_buffer(bytes);
    check_verifiers(bytes);
  }
  expect(PyErr_Occurred() == nullptr, "no exception is left behind");
  return 0;
}
