#include "tests/stress/steps/stage.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <sstream>
#include <stdexcept>

#include "tests/stress/stress.h"

namespace samovar::test {
namespace {

constexpr char kPoolName[] = "steps";

// What steps.py answers: number, process, checksum; once or over and over.
struct Answer {
  std::uint64_t number;
  std::uint32_t pid;
  std::uint32_t crc;
};
static_assert(sizeof(Answer) == 16 && sizeof(Stage::Note) == 16);

}  // namespace

// --- calls --------------------------------------------------------------------------------------------------------------

int Told::times_told() {
  const std::lock_guard lock(mutex);
  return times;
}

std::uint32_t Told::checksum() const { return crc32(argument.data(), argument.size()); }

std::optional<Code> Told::error() {
  const std::lock_guard lock(mutex);
  return outcome ? code_of(*outcome) : std::nullopt;
}

std::optional<pid_t> Told::replied_by() {
  const std::lock_guard lock(mutex);
  if (!outcome || !*outcome || (*outcome)->data().size() < sizeof(Answer)) return std::nullopt;
  Answer answer;
  std::memcpy(&answer, (*outcome)->data().data(), sizeof answer);
  return static_cast<pid_t>(answer.pid);
}

bool Told::is_right() {
  const std::lock_guard lock(mutex);
  if (!outcome) return false;
  if (!*outcome) return true;
  const std::span<const std::byte> data = (*outcome)->data();
  const std::uint32_t crc = checksum();
  for (std::size_t at = 0; at + sizeof(Answer) <= data.size(); at += sizeof(Answer)) {
    Answer answer;
    std::memcpy(&answer, data.data() + at, sizeof answer);
    if (answer.number != number || answer.crc != crc) return false;
  }
  return data.size() >= sizeof(Answer);
}

std::string Told::describe() {
  std::string text = "call " + std::to_string(number);
  if (const auto pid = replied_by()) return text + ": a reply from process " + std::to_string(*pid);
  const std::lock_guard lock(mutex);
  if (!outcome) return text + ": nothing";
  return text + ": " + (*outcome ? "a strange reply" : (*outcome).error().to_string());
}

// --- the stage ------------------------------------------------------------------------------------------------------------

Stage::Stage(const Script& script, const std::string& python) : script_(script) {
  setenv("SAMOVAR_TEST_LOG", folder_.file("notes").c_str(), 1);
  Options chosen = options("steps.py");
  chosen.worker_start = WorkerStart::exec;  // the call is the same, and a worker is the test's own child
  chosen.name = kPoolName;
  chosen.dispatcher = script.dispatcher;
  chosen.workers = script.workers;
  chosen.prefetch = 16;
  chosen.python = python;
  if (!python.empty()) chosen.log = [](LogLevel, std::string_view) {};  // its workers are meant to fail
  chosen.restart_delay = chosen.restart_delay_max = std::chrono::milliseconds(1);  // many deaths are not this pool's trouble
  chosen.log_level = LogLevel::error;
  chosen.inline_bytes_max = kInlineBytes;
  chosen.request_arena_bytes = chosen.response_arena_bytes = std::uint64_t{1} << 20;
  chosen.spin_max = Duration::zero();  // it sleeps at once: a script begins and ends there
  // A worker under a tracer on a busy machine looks hung, and is not to be killed by anyone but the test.
  chosen.kill_grace = chosen.wedged_after = chosen.stopped_after = std::chrono::minutes(10);
  pool_.emplace(start(chosen));
  descriptors_ = open_descriptors().size();
  threads_ = thread_count();
  mappings_ = count_mappings(kPoolName);
}

std::vector<pid_t> Stage::find_workers() {
  std::vector<pid_t> alive;
  for (const pid_t child : children_of(getpid())) {
    if (is_alive(child)) alive.push_back(child);
  }
  if (alive.size() != script_.workers) throw std::runtime_error("the pool has not all of its workers");
  return alive;
}

void Stage::begin() {
  calls_.clear();
  before_ = pool_->stats();
  noted_before_ += notes().size();
}

void Stage::kill_worker() { kill(find_workers().front(), SIGKILL); }

void Stage::send_all(Duration timeout, bool idempotent) {
  for (int call = 0; call < script_.calls; ++call) calls_.push_back(send(timeout, idempotent));
}

// Until both take calls, and have done what they took: a new worker is ready a moment before the dispatcher knows.
void Stage::await_both(const std::vector<pid_t>& workers) {
  ChannelView first(workers.front(), kPoolName, pool_->options().lane_bytes);
  ChannelView second(workers.back(), kPoolName, pool_->options().lane_bytes);
  const bool both = wait_until([&] {
    const auto one = send(no_deadline()), another = send(no_deadline());
    const auto told = [&] { return pool_->poll(), one->times_told() + another->times_told() == 2; };
    return wait_until(told) && first.now().started > 0 && second.now().started > 0;
  });
  if (!both || !wait_until([&] { return second.is_asleep(); })) throw std::runtime_error("not both workers take calls, then sleep");
}

void Stage::set(Duration timeout, bool idempotent) {
  begin();
  const std::vector<pid_t> workers = find_workers();
  const pid_t pid = workers.front();
  if (workers.size() > 1) {
    await_both(workers);
    other_.emplace(workers.back());
  }
  view_.emplace(pid, kPoolName, pool_->options().lane_bytes);
  if (!wait_until([&] { return view_->is_asleep(); })) throw std::runtime_error("the worker does not sleep");
  tracee_.emplace(pid);
  extension_ = code_range(pid, "/_native.");
  send_all(timeout, idempotent);
  if (workers.size() > 1) in_lane_ = view_->requests();
}

void Stage::let_other_run() { other_.reset(); }

std::shared_ptr<Told> Stage::send(Duration timeout, bool idempotent) {
  auto told = std::make_shared<Told>();
  told->number = next_number_++;
  told->idempotent = idempotent;
  told->argument.resize(script_.argument_bytes);
  for (std::size_t i = 0; i < told->argument.size(); ++i) told->argument[i] = static_cast<std::byte>(told->number * 31 + i);
  std::memcpy(told->argument.data(), &told->number, sizeof told->number);
  const auto accepted = pool_->submit(
      script_.method, bytes(told->argument.data(), told->argument.size()),
      [told](Result<Reply> outcome) {
        const std::lock_guard lock(told->mutex);
        if (++told->times == 1) told->outcome.emplace(std::move(outcome));
      },
      {.timeout = timeout, .stop = told->stop.get_token(), .idempotent = idempotent});
  if (!accepted) throw std::runtime_error("not accepted: " + accepted.error().to_string());
  return told;
}

bool Stage::at_end(const ChannelState& state) const {
  switch (script_.until) {
    case Until::second_call_begins: return state.started >= 2;
    case Until::second_call_answered: return state.published >= 2;
    case Until::sleep: break;
  }
  return state.published == static_cast<std::uint64_t>(script_.calls) && state.asleep != 0 && tracee_->is_at_system_call();
}

bool Stage::step_to(Point point) {
  std::uint64_t steps = 0, in_extension = 0;
  for (;;) {
    if (!tracee_->step()) throw std::runtime_error("the worker has ended under the tracer");
    ++steps;
    const std::uint64_t at = tracee_->instruction();
    const bool inside = extension_.contains(at);
    in_extension += inside;
    const bool reached = (point.in_extension ? in_extension : steps) == point.number && (inside || !point.in_extension);
    const bool may_end = inside || view_->is_asleep();
    if (!reached && !may_end) continue;
    const ChannelState state = view_->now();
    if (reached) {
      if (inside) pairs_.emplace(at - extension_.module, state);
      return true;
    }
    if (at_end(state)) return false;
  }
}

Course Stage::survey() {
  Course course;
  const auto begin = std::chrono::steady_clock::now();
  std::map<Pair, std::pair<Point, Point>> first_and_last;
  ChannelState state;
  do {
    if (!tracee_->step()) throw std::runtime_error("the worker has ended under the tracer");
    ++course.steps;
    const std::uint64_t at = tracee_->instruction();
    state = view_->now();
    if (!extension_.contains(at)) continue;
    const Point point{.number = ++course.in_extension, .in_extension = true, .steps = course.steps};
    first_and_last.try_emplace({at - extension_.module, state}, point, point).first->second.second = point;
  } while (!at_end(state));
  course.time = std::chrono::steady_clock::now() - begin;
  tracee_->let_run();

  course.pairs = first_and_last.size();
  for (const auto& [pair, points] : first_and_last) {
    course.telling.push_back(points.first);
    if (points.second.number != points.first.number) course.telling.push_back(points.second);
  }
  std::sort(course.telling.begin(), course.telling.end(), [](Point a, Point b) { return a.number < b.number; });
  return course;
}

ChannelState Stage::state() { return view_->now(); }

bool Stage::all_told() {
  for (const auto& call : calls_) {
    if (wait_until([&] { return pool_->poll(), call->times_told() > 0; })) continue;
    ADD_FAILURE() << "call " << call->number << " has no outcome";
    return false;
  }
  return true;
}

void Stage::expect_served() {
  const auto call = send(no_deadline());
  EXPECT_TRUE(wait_until([&] { return pool_->poll(), call->times_told() > 0; })) << "the pool does not serve";
  EXPECT_TRUE(call->replied_by() && call->is_right()) << call->describe();
}

void Stage::expect_at_rest() {
  expect_served();
  // Who would be told twice has been told by now: the call before came later than anything of these.
  for (const auto& call : calls_) EXPECT_EQ(call->times_told(), 1) << "told twice: " << call->describe();
  calls_.clear();
  tracee_.reset();
  view_.reset();

  const auto at_rest = [&] {
    pool_->poll();
    const Stats s = pool_->stats();
    // The last call of `kept` is in view for as long as its worker lives.
    return s.queued == 0 && s.in_flight == 0 && s.escaped_views <= 1 && s.request_arena_in_use == s.escaped_views * ipc::kPageBytes &&
           s.workers_ready == script_.workers && s.accepted == s.replied + s.failed;
  };
  EXPECT_TRUE(wait_until(at_rest)) << [&] {
    const Stats s = pool_->stats();
    std::ostringstream text;
    text << s.queued << " queued, " << s.in_flight << " in flight, " << s.request_arena_in_use << " bytes of the request arena in use, "
         << s.escaped_views << " views escaped, " << s.workers_ready << " workers ready; of " << s.accepted << " calls " << s.replied
         << " replied, " << s.failed << " failed";
    return text.str();
  }();
  EXPECT_EQ(pool_->stats().violations, before_.violations);
  const auto nothing_left = [&] {
    return open_descriptors().size() == descriptors_ && thread_count() == threads_ && count_mappings(kPoolName) == mappings_ &&
           children_of(getpid()).size() == script_.workers;
  };
  EXPECT_TRUE(wait_until(nothing_left)) << "left behind: " << Footprint::now().to_string() << "; " << count_mappings(kPoolName)
                                        << " mappings, at first " << mappings_;
}

std::string Stage::report(const Course& course, std::size_t points) const {
  std::ostringstream text;
  text << script_.name << ": at " << points << " points, " << pairs_.size() << " distinct (instruction, channel state) pairs of some "
       << course.pairs << "; the script is " << course.steps << " instructions, " << course.in_extension << " of them the extension's";
  return text.str();
}

// --- what workers write down -------------------------------------------------------------------------------------------------

std::vector<Stage::Note> Stage::notes() const {
  const std::string text = folder_.read("notes");
  std::vector<Note> all(text.size() / sizeof(Note));
  if (!all.empty()) std::memcpy(all.data(), text.data(), all.size() * sizeof(Note));
  all.erase(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(std::min(noted_before_, all.size())));
  return all;
}

int Stage::times_begun(const Told& call) const {
  int times = 0;
  for (const Note& note : notes()) times += note.number == call.number && note.crc == 0;
  return times;
}

}  // namespace samovar::test
