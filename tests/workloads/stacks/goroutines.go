// Goroutines that work, that wait for each other through channels and a mutex, and that rest.
package main

import (
	"fmt"
	"math/rand"
	"os"
	"sort"
	"strings"
	"sync"
	"time"
)

var sink uint64

//go:noinline
func mix(value uint64, rounds int) uint64 {
	for round := 0; round < rounds; round++ {
		value = value*6364136223846793005 + uint64(round)
	}
	return value
}

//go:noinline
func sortSome(random *rand.Rand) uint64 {
	values := make([]int, 256)
	for at := range values {
		values[at] = random.Int()
	}
	sort.Slice(values, func(a, b int) bool { return values[a] < values[b] })
	return uint64(values[128])
}

//go:noinline
func joinSome(random *rand.Rand) uint64 {
	words := map[string]int{}
	for at := 0; at < 64; at++ {
		words[strings.Repeat("x", at%8)+fmt.Sprint(random.Intn(100))]++
	}
	return uint64(len(words))
}

//go:noinline
func oneOf(random *rand.Rand) uint64 {
	switch random.Intn(3) {
	case 0:
		return mix(random.Uint64(), 20000) + 1
	case 1:
		return sortSome(random) + 1
	default:
		return joinSome(random) + 1
	}
}

func worker(seed int64, results chan<- uint64) {
	random := rand.New(rand.NewSource(seed))
	for {
		for rounds := random.Intn(64); rounds > 0; rounds-- {
			results <- oneOf(random)
		}
		time.Sleep(time.Duration(200+random.Intn(1600)) * time.Microsecond)
	}
}

func main() {
	time.AfterFunc(180*time.Second, func() { os.Exit(1) })
	results := make(chan uint64)
	var lock sync.Mutex
	for seed := int64(1); seed <= 3; seed++ {
		go worker(seed, results)
	}
	fmt.Println("ready", os.Getpid())
	for result := range results {
		lock.Lock()
		sink += mix(result, 2000)
		lock.Unlock()
	}
}
