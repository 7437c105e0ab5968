// `service CASE FOLDER`: a service in one of the states of the scorecard of verdicts.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

var (
	lock sync.Mutex
	sink uint64
)

func main() {
	switch os.Args[1] {
	case "idle":
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		check(err)
		go func() { check(http.Serve(listener, nil)) }()
	case "compute":
		start(2, compute)
	case "mutex_across_sync":
		file, err := os.Create(os.Args[2] + "/service.data")
		check(err)
		start(4, func() { syncUnderLock(file) })
	case "mutex_across_sleep":
		start(4, sleepUnderLock)
	default:
		panic(os.Args[1])
	}
	fmt.Println("ready", os.Getpid())
	select {}
}

func start(count int, work func()) {
	for index := 0; index < count; index++ {
		go work()
	}
	// Else the runtime takes the program for dead when all of them wait.
	go func() {
		for {
			time.Sleep(time.Hour)
		}
	}()
}

func compute() {
	for number := uint64(1); ; number = number*6364136223846793005 + 1442695040888963407 {
		if number == 0 {
			sink = number
		}
	}
}

func syncUnderLock(file *os.File) {
	for {
		lock.Lock()
		_, err := file.WriteAt(make([]byte, 4096), 0)
		check(err)
		check(file.Sync())
		lock.Unlock()
	}
}

func sleepUnderLock() {
	for {
		lock.Lock()
		time.Sleep(5 * time.Millisecond)
		lock.Unlock()
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
