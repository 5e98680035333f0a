#include "python_ext/native/stack_dump.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

#include "ipc/clock.h"
#include "ipc/doorbell.h"
#include "python_ext/native/ref.h"

namespace samovar::python {
namespace {

constexpr std::int64_t kMainThreadNs = 200'000'000;  // until the main thread must have begun
constexpr std::int64_t kWritingNs = 100'000'000;     // and until it must have ended

// A dump is wanted by the guard, then written by one thread: whoever changes the word from wanted to writing.
enum : std::uint32_t { kIdle, kWanted, kWriting, kWritten };
std::atomic<std::uint32_t> phase{kIdle};

// Constant once installed.
int file = -1;
struct stat file_identity;
pid_t main_thread;
void (*faulthandler_writes)(int) = nullptr;

// Async-signal-safe, as faulthandler's handler is.
void write_if_wanted(int signal) {
  std::uint32_t wanted = kWanted;
  if (!phase.compare_exchange_strong(wanted, kWriting)) return;
  faulthandler_writes(signal);
  phase.store(kWritten);
  ipc::futex_wake_one(phase);
}

void on_signal(int signal) {
  const int before = errno;
  write_if_wanted(signal);
  errno = before;
}

bool set_handler() {
  struct sigaction action = {};
  action.sa_handler = on_signal;
  // The call that a dump interrupts goes on where the kernel can restart it.
  action.sa_flags = SA_RESTART | SA_ONSTACK;
  return sigaction(kStackSignal, &action, nullptr) == 0;
}

bool still_ours() {
  struct sigaction now = {};
  struct stat identity = {};
  return sigaction(kStackSignal, nullptr, &now) == 0 && (now.sa_flags & SA_SIGINFO) == 0 && now.sa_handler == on_signal &&
         fstat(file, &identity) == 0 && identity.st_dev == file_identity.st_dev && identity.st_ino == file_identity.st_ino;
}

std::string read_file() {
  struct stat now = {};
  if (fstat(file, &now) != 0) return {};
  std::string text(static_cast<std::size_t>(now.st_size), '\0');
  const ssize_t got = pread(file, text.data(), text.size(), 0);
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return text;
}

}  // namespace

bool install_stack_dump() {
  file = memfd_create("samovar-stacks", MFD_CLOEXEC);
  // Ours first: were faulthandler's handler ever unregistered, the signal would still end nobody.
  if (file < 0 || fstat(file, &file_identity) != 0 || !set_handler()) {
    PyErr_SetFromErrno(PyExc_OSError);
    return false;
  }
  main_thread = gettid();
  const Ref faulthandler = Ref::steal(PyImport_ImportModule("faulthandler"));
  const Ref writes = faulthandler ? Ref::steal(PyObject_GetAttrString(faulthandler.get(), "register")) : Ref();
  const Ref arguments = writes ? Ref::steal(Py_BuildValue("(i)", kStackSignal)) : Ref();
  const Ref options = arguments ? Ref::steal(Py_BuildValue("{s:i,s:O}", "file", file, "all_threads", Py_True)) : Ref();
  const Ref done = options ? Ref::steal(PyObject_Call(writes.get(), arguments.get(), options.get())) : Ref();
  if (!done) return false;
  struct sigaction registered = {};
  sigaction(kStackSignal, nullptr, &registered);
  faulthandler_writes = registered.sa_handler;
  set_handler();
  return true;
}

int stack_dump_fd() { return file; }

std::string dump_stacks() {
  if (!still_ours()) return {};
  // One that was begun and never ended keeps its thread for good: what it has written is all there is.
  if (phase.load() == kWriting) return read_file();
  if (ftruncate(file, 0) != 0 || lseek(file, 0, SEEK_SET) != 0) return {};
  phase.store(kWanted);
  syscall(SYS_tgkill, getpid(), main_thread, kStackSignal);
  const std::int64_t begin_by_ns = ipc::in(kMainThreadNs);
  const std::int64_t end_by_ns = begin_by_ns + kWritingNs;
  for (std::uint32_t now; (now = phase.load()) != kWritten;) {
    const std::int64_t now_ns = ipc::now_ns();
    if (now == kWanted && now_ns >= begin_by_ns) {
      write_if_wanted(kStackSignal);
    } else if (now_ns >= end_by_ns) {
      break;
    } else {
      ipc::futex_wait(phase, now, now == kWanted ? begin_by_ns : end_by_ns);
    }
  }
  return read_file();
}

}  // namespace samovar::python
