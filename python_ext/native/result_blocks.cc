#include "python_ext/native/result_blocks.h"

#include <array>
#include <string>

#include "python_ext/native/forked_child.h"
#include "python_ext/native/private_memory.h"
#include "python_ext/native/tensor.h"

namespace samovar::python {
namespace {

struct ResultBlock {
  PyObject_HEAD
  ipc::ViewedBlocks* blocks;  // null: its array is a spare one, the block is nobody's
  std::uint64_t offset;
};

void dealloc(PyObject* self) {
  const auto& block = *reinterpret_cast<ResultBlock*>(self);
  if (block.blocks != nullptr && !is_forked_child()) block.blocks->view_died(block.offset);  // a child's copy says nothing: the block is its parent's
  PyTypeObject* type = Py_TYPE(self);
  type->tp_free(self);
  Py_DECREF(type);
}

// The dimensions of an int or a sequence of ints. False with an exception.
bool read_shape(PyObject* object, std::array<std::uint64_t, ipc::kTensorRankMax>& dimensions, std::size_t& rank) {
  const auto read = [](PyObject* item, std::uint64_t& out) {
    const Py_ssize_t dimension = PyNumber_AsSsize_t(item, PyExc_OverflowError);
    if (dimension == -1 && PyErr_Occurred() != nullptr) return false;
    if (dimension < 0) PyErr_Format(PyExc_ValueError, "a dimension of a shape is negative: %zd", dimension);
    out = static_cast<std::uint64_t>(dimension);
    return dimension >= 0;
  };
  if (PyIndex_Check(object) != 0) {
    rank = 1;
    return read(object, dimensions[0]);
  }
  const Ref items = Ref::steal(PySequence_Tuple(object));
  if (!items) {
    if (PyErr_ExceptionMatches(PyExc_TypeError) != 0) PyErr_Format(PyExc_TypeError, "a shape is an int or a sequence of ints, not %s", Py_TYPE(object)->tp_name);
    return false;
  }
  rank = static_cast<std::size_t>(PyTuple_GET_SIZE(items.get()));
  if (rank > dimensions.size()) {
    PyErr_Format(PyExc_ValueError, "a shape has at most %zu dimensions, this one has %zu", dimensions.size(), rank);
    return false;
  }
  for (std::size_t i = 0; i < rank; ++i) {
    if (!read(PyTuple_GET_ITEM(items.get(), static_cast<Py_ssize_t>(i)), dimensions[i])) return false;
  }
  return true;
}

}  // namespace

PyObject* make_result_block_type(PyObject* module) {
  static PyType_Slot slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
                                {Py_tp_doc, const_cast<char*>("Memory that a result is sent from: what arrays of ctx.empty() keep.")},
                                {0, nullptr}};
  static PyType_Spec spec = {"samovar.ResultBlock", sizeof(ResultBlock), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE, slots};
  return PyType_FromModuleAndSpec(module, &spec, nullptr);
}

bool ResultBlocks::read_dtype(PyObject* dtype, ipc::DType& out, std::uint32_t& item_bytes) {
  if (dtype == nullptr || dtype == Py_None) {
    out = ipc::DType::float32;
    item_bytes = sizeof(float);
    return true;
  }
  if (dtype == last_read_.type.get()) {
    out = last_read_.dtype;
    item_bytes = last_read_.item_bytes;
    return true;
  }
  if (PyUnicode_Check(dtype)) {
    const char* name = PyUnicode_AsUTF8(dtype);
    if (name == nullptr) return false;
    if (read_dtype_name(name, out, item_bytes)) return true;
  }
  if (numpy_.load()) {
    if (!numpy_.read_dtype(dtype, out, item_bytes)) return false;
    if (PyType_Check(dtype) && !PyType_HasFeature(reinterpret_cast<PyTypeObject*>(dtype), Py_TPFLAGS_HEAPTYPE)) {
      last_read_ = {Ref::borrow(dtype), out, item_bytes};
    }
    return true;
  }
  PyErr_Format(PyExc_TypeError, "%R is no dtype of a tensor; \"float32\", \"int64\", \"bool\" or \"S8\" are, others need NumPy", dtype);
  return false;
}

Ref ResultBlocks::empty(PyObject* shape_object, PyObject* dtype_object) {
  std::array<std::uint64_t, ipc::kTensorRankMax> dimensions;
  std::size_t rank = 0;
  ipc::DType dtype;
  std::uint32_t item_bytes;
  if (!read_shape(shape_object, dimensions, rank) || !read_dtype(dtype_object, dtype, item_bytes)) return {};
  const std::span<const std::uint64_t> shape(dimensions.data(), rank);
  const auto bytes = ipc::tensor_bytes(item_bytes, shape);
  if (!bytes) {
    PyErr_Format(PyExc_ValueError, "empty: an array of shape %R is larger than any memory", shape_object);
    return {};
  }

  Ref keeper;
  std::byte* data = nullptr;
  if (*bytes > end_.payload_bytes_max() && PyThread_get_thread_ident() == main_thread_) {
    // Where there is no room the array is made in memory of this process, and copied when it is sent: that is where the call waits
    // for room, or fails.
    const auto allocated = end_.allocate_viewed_block(*bytes);
    if (allocated && *allocated) {
      data = end_.response_arena().at(**allocated);
      if (spare_) {
        Ref array = std::move(spare_);
        if (numpy_.renew(array.get(), dtype, shape, data, true)) {
          keep_block(numpy_.base_of(array.get()), **allocated);
          return array;
        }
      }
      keeper = Ref::steal(types_.result_block->tp_alloc(types_.result_block, 0));
      if (!keeper) {
        end_.viewed_blocks().view_died(**allocated);
        return {};
      }
      keep_block(keeper.get(), **allocated);
    }
  }
  if (!keeper) {
    keeper = make_private_memory(types_.private_memory, *bytes);
    if (!keeper) return {};
    data = private_memory_of(keeper.get()).data();
  }
  if (numpy_.load()) {
    Ref array = numpy_.array(dtype, item_bytes, shape, data, true, keeper.get());
    if (array || PyErr_Occurred() != nullptr) return array;
  }
  return make_tensor(types_.tensor, dtype, item_bytes, shape, data, true, keeper.get());
}

void ResultBlocks::keep_block(PyObject* keeper, std::uint64_t offset) {
  auto& block = *reinterpret_cast<ResultBlock*>(keeper);
  block.blocks = &end_.viewed_blocks();
  block.offset = offset;
}

void ResultBlocks::take_back(Ref result) {
  if (!numpy_.is_array(result.get())) return;
  PyObject* const keeper = numpy_.base_of(result.get());
  if (keeper == nullptr || Py_TYPE(keeper) != types_.result_block || !numpy_.is_unshared(result.get(), keeper)) return;
  auto& block = *reinterpret_cast<ResultBlock*>(keeper);
  const ipc::ViewedBlocks::Block* const sent = end_.viewed_blocks().at(block.offset);
  if (sent == nullptr || !sent->is_sent) return;
  end_.viewed_blocks().forget(block.offset);
  block.blocks = nullptr;
  spare_ = std::move(result);
}

std::optional<ipc::BlockReference> ResultBlocks::find(const std::byte* data) const {
  const std::span<std::byte> arena = end_.response_arena().memory();
  if (end_.viewed_blocks().empty() || data < arena.data() || data >= arena.data() + arena.size()) return std::nullopt;
  const ipc::ViewedBlocks::Block* block = end_.viewed_blocks().at(static_cast<std::uint64_t>(data - arena.data()));
  if (block == nullptr || block->is_sent) return std::nullopt;
  return ipc::BlockReference{block->offset, block->bytes};
}

}  // namespace samovar::python
