// Templates, virtual calls, std::sort with a lambda, std::function, and exceptions thrown through several frames in a
// loop. The main thread works and rests; a thread waits for a condition variable, another one works.
#include <algorithm>
#include <array>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "pace.h"

namespace shapes {

static volatile uint64_t sink;

template <typename Number, int ROUNDS> struct Mixer {
    NOINLINE static Number mix(Number value) {
        for (int round = 0; round < ROUNDS; round++)
            value = value * Number(6364136223846793005u) + Number(round);
        return value;
    }
};

struct Shape {
    virtual ~Shape() = default;
    virtual uint64_t area(uint64_t side) const = 0;
};

template <int ROUNDS> struct Polygon : Shape {
    NOINLINE uint64_t area(uint64_t side) const override {
        uint64_t found = Mixer<uint64_t, ROUNDS>::mix(side);
        STAY();
        return found;
    }
};

NOINLINE uint64_t all_areas(const std::vector<std::unique_ptr<Shape>> &all, uint64_t side) {
    uint64_t sum = 0;
    for (const auto &shape : all)
        sum += shape->area(side + sum);
    return sum;
}

NOINLINE uint64_t sorted(uint64_t *state) {
    std::array<uint64_t, 128> values;
    for (auto &value : values)
        value = next_random(state);
    std::sort(values.begin(), values.end(), [](uint64_t a, uint64_t b) { return (a >> 3) < (b >> 3); });
    return values[64];
}

NOINLINE void throw_at(int depth, uint64_t value) {
    std::string text = "depth " + std::to_string(value);
    if (depth == 0)
        throw std::runtime_error(text);
    throw_at(depth - 1, value);
    STAY();
}

NOINLINE uint64_t caught(uint64_t value) {
    try {
        throw_at(5, value);
    } catch (const std::exception &error) {
        return error.what()[0];
    }
    return 0;
}

NOINLINE void one_of(uint64_t *state, const std::vector<std::function<uint64_t()>> &all) {
    sink = all[next_random(state) % all.size()]();
    STAY();
}

struct Worker {
    uint64_t state;
    std::vector<std::unique_ptr<Shape>> all;
    std::vector<std::function<uint64_t()>> kinds;

    explicit Worker(uint64_t seed) : state(seed) {
        all.push_back(std::make_unique<Polygon<300>>());
        all.push_back(std::make_unique<Polygon<700>>());
        kinds.push_back([this] { return all_areas(all, state); });
        kinds.push_back([this] { return sorted(&state); });
        kinds.push_back([this] { return caught(state); });
    }

    NOINLINE void some_work() {
        for (uint64_t rounds = next_random(&state) % 512; rounds > 0; rounds--)
            one_of(&state, kinds);
    }
};

static std::mutex lock;
static std::condition_variable changed;

NOINLINE void wait_for_change() {
    std::unique_lock<std::mutex> held(lock);
    changed.wait(held);
}

} // namespace shapes

int main() {
    std::thread waits([] {
        for (;;)
            shapes::wait_for_change();
    });
    std::thread works([] {
        shapes::Worker worker(88172645463325252u);
        for (;;) {
            worker.some_work();
            rest(&worker.state);
        }
    });
    shapes::Worker worker(2463534242u);
    ready();
    for (;;) {
        worker.some_work();
        shapes::changed.notify_one();
        rest(&worker.state);
    }
}
