#include "python_ext/native/batch_run.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "ipc/clock.h"
#include "python_ext/native/errors.h"
#include "python_ext/native/forked_child.h"

namespace samovar::python {
namespace {

// What a handler may return: anything that has a length and items, but for texts, whose items nobody means.
bool is_sequence(PyObject* object) {
  return PySequence_Check(object) && !PyUnicode_Check(object) && !PyBytes_Check(object) && !PyByteArray_Check(object) &&
         !PyMemoryView_Check(object);
}

}  // namespace

void BatchRun::begin(const Method& method) {
  method_ = &method;
  size_ = 0;
  wanted_.clear();
  words_.clear();
  deadline_ns_ = 0;
  timed_ = false;
  look_at_clock();
  arguments_ = Ref::steal(PyList_New(0));
  if (!arguments_) PyErr_Clear();  // no memory: the calls are told as they join
}

bool BatchRun::add(const ipc::Request& record) {
  if ((record.flags & ipc::kRequestPacked) == 0) {
    Item& item = next_item();
    item.call.request = record;
    const std::atomic<std::uint64_t>* word = end_.current_word();
    const bool is_wanted = end_.start(record);
    add(item, word, is_wanted);
  } else {
    const std::uint32_t count = ipc::PackedReader::count(record);
    if (count == 0) return false;
    end_.start_packed(record, count);
    for (ipc::PackedReader requests(record); requests.has_more();) {
      Item& item = next_item();
      const std::atomic<std::uint64_t>* word = requests.next(item.call.request);
      add(item, word, !ipc::is_revoked(*word));
    }
  }
  end_.pass();
  return true;
}

BatchRun::Item& BatchRun::next_item() {
  if (size_ == items_.size()) items_.push_back(&made_.emplace_back(views_));
  return *items_[size_++];
}

// `word`: where the host may revoke it.
void BatchRun::add(Item& item, const std::atomic<std::uint64_t>* word, bool is_wanted) {
  const ipc::Request& request = item.call.request;
  item.call.begin();
  item.call.method = method_;
  item.call.passed = true;
  const bool expired = request.deadline_ns != 0 && coarse_now_ns_ + ipc::kCoarseLagNs >= request.deadline_ns && ipc::has_passed(request.deadline_ns);
  item.status = expired ? ipc::Status::expired : is_wanted ? ipc::Status::ok : ipc::Status::skipped;
  if (item.status != ipc::Status::ok) return;
  const Ref argument = argument_of(item);
  if (!argument || !arguments_ || PyList_Append(arguments_.get(), argument.get()) != 0) {
    if (argument && !arguments_) PyErr_NoMemory();
    item.error = take_raised();
    return;
  }
  wanted_.push_back(&item);
  words_.push_back(word);
  if (request.deadline_ns != 0) deadline_ns_ = deadline_ns_ == 0 ? request.deadline_ns : std::min(deadline_ns_, request.deadline_ns);
  timed_ |= (request.flags & ipc::kRequestTimed) != 0;
}

// What stands for a call in the list: its one argument, a tuple of several, None for none.
Ref BatchRun::argument_of(Item& item) {
  Arguments arguments;
  if (!reader_.read(item.call, arguments, item.view)) return {};
  if (arguments.count() == 1) return Ref::borrow(arguments.data()[0]);
  if (arguments.count() == 0) return Ref::borrow(Py_None);
  const auto count = static_cast<Py_ssize_t>(arguments.count());
  Ref tuple = Ref::steal(PyTuple_New(count));
  for (Py_ssize_t i = 0; tuple && i < count; ++i) PyTuple_SET_ITEM(tuple.get(), i, Py_NewRef(arguments.data()[i]));
  return tuple;
}

void BatchRun::run() {
  std::optional<Failure> failure;  // of all that were wanted
  if (!wanted_.empty()) {
    Ref results = call_handler();
    if (is_forked_child()) [[unlikely]] end_forked_child();
    if (!results) {
      failure = responder_.take_failure(ipc::FailureCode::exception);
    } else if (!give_results(std::move(results))) {
      failure = responder_.take_failure(ipc::FailureCode::result_type);
    }
  }
  arguments_.reset();  // what is viewed on from here on has been kept
  for (Item* item : items()) {
    item->call.in_batch = item == items().back() ? RunningCall::InBatch::last : RunningCall::InBatch::followed;
    if (failure && item->status == ipc::Status::ok && !item->error) {
      responder_.fail(item->call, *failure);
    } else {
      answer(*item);
    }
  }
}

// Null with an exception.
Ref BatchRun::call_handler() {
  PyObject* arguments[] = {arguments_.get(), nullptr};
  PyObject* names = nullptr;
  if (method_->wants_ctx) {
    arguments[1] = contexts_.open({.call_id = wanted_.front()->call.request.call_id,
                                   .deadline_ns = deadline_ns_,
                                   .worker = worker_,
                                   .commit_word = words_.front(),
                                   .blocks = &blocks_,
                                   .others = std::span(words_).subspan(1)});
    if (arguments[1] == nullptr) return {};
    names = ctx_names_.get();
  }
  const std::int64_t begin_ns = timed_ ? ipc::now_ns() : 0;
  Ref results = Ref::steal(PyObject_Vectorcall(method_->function.get(), arguments, 1, names));
  if (timed_) {
    const auto took_ns = static_cast<std::uint64_t>(ipc::now_ns() - begin_ns);
    for (Item* item : wanted_) item->call.service_ns = std::max<std::uint64_t>(took_ns / wanted_.size(), 1);
  }
  if (method_->wants_ctx) contexts_.close();
  return results;
}

// Hands each call its result. False with an exception: there is not one for each.
bool BatchRun::give_results(Ref results) {
  const std::string& name = method_->described.name;
  const std::size_t calls = wanted_.size();
  if (!is_sequence(results.get())) {
    PyErr_Format(PyExc_TypeError, "result: %s takes %zu calls at once and has returned a %s; return a list with a result for each, in their order",
                 name.c_str(), calls, Py_TYPE(results.get())->tp_name);
    return false;
  }
  const Ref items = Ref::steal(PySequence_Fast(results.get(), "result: not a sequence"));
  if (!items) return false;
  const auto count = static_cast<std::size_t>(PySequence_Fast_GET_SIZE(items.get()));
  if (count != calls) {
    PyErr_Format(PyExc_ValueError, "result: %s has returned %zu results for a batch of %zu calls; return one for each, in their order",
                 name.c_str(), count, calls);
    return false;
  }
  for (std::size_t i = 0; i < calls; ++i) wanted_[i]->result = Ref::borrow(PySequence_Fast_ITEMS(items.get())[i]);
  return true;
}

void BatchRun::answer(Item& item) {
  RunningCall& call = item.call;
  if (item.status != ipc::Status::ok) return responder_.respond(call, {.call_id = call.request.call_id, .status = item.status});
  Ref outcome = item.error ? std::move(item.error) : std::move(item.result);
  if (!PyExceptionInstance_Check(outcome.get())) return responder_.answer(call, std::move(outcome));
  PyErr_SetObject(PyExceptionInstance_Class(outcome.get()), outcome.get());
  outcome.reset();  // its traceback may view the argument
  responder_.fail_with_exception(call, call.failure_code);
}

}  // namespace samovar::python
