// Exceptions through frames with destructors, and calls through tables of functions.
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

static volatile long sink;

struct Counts {
    long &count;
    explicit Counts(long &count) : count(count) { count++; }
    ~Counts() { count--; }
};

struct Shape {
    virtual ~Shape() = default;
    virtual long area(long x) const = 0;
};
struct Square : Shape {
    long area(long x) const override { return x * x + sink; }
};

__attribute__((noinline)) static long throws(long depth) {
    static long alive;
    Counts counts(alive);
    if (depth == 0) throw std::runtime_error("the end of " + std::to_string(alive));
    long found = throws(depth - 1) + alive;
    return found;
}

int main() {
    std::vector<std::unique_ptr<Shape>> shapes;
    for (int i = 0; i < 3; i++) shapes.push_back(std::make_unique<Square>());
    for (auto &shape : shapes) sink += shape->area(3);
    for (long depth = 0; depth < 4; depth++) {
        try {
            sink += throws(depth);
        } catch (const std::exception &error) {
            sink += (long)std::string(error.what()).size();
        }
    }
    return 0;
}
