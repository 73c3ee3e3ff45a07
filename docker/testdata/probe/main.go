// Command probe is what the containers of the package's tests run: it behaves as it is told and tells what it sees.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: probe serve|cat|stat|exit|echo|write|hang|flood")
		os.Exit(2)
	}
	args := append(os.Args[2:], "", "")
	switch os.Args[1] {
	case "serve": // until SIGTERM; answers hello on port 8080
		serve()
	case "cat":
		data, err := os.ReadFile(args[0])
		check(err)
		fmt.Print(string(data))
	case "stat": // mode uid:gid
		info, err := os.Stat(args[0])
		check(err)
		st := info.Sys().(*syscall.Stat_t)
		fmt.Printf("%04o %d:%d", info.Mode().Perm(), st.Uid, st.Gid)
	case "exit": // a code, after the contents of a file
		if args[1] != "" {
			data, err := os.ReadFile(args[1])
			check(err)
			fmt.Println("the secret is", strings.TrimSpace(string(data)))
		}
		code, err := strconv.Atoi(args[0])
		check(err)
		os.Exit(code)
	case "echo":
		_, err := io.Copy(os.Stdout, os.Stdin)
		check(err)
		fmt.Fprint(os.Stderr, "done")
	case "write":
		check(os.WriteFile(args[0], []byte(args[1]), 0o600))
	case "hang": // until SIGTERM
		<-terminated()
	case "flood": // so many bytes
		n, err := strconv.Atoi(args[0])
		check(err)
		_, err = io.CopyN(os.Stdout, zeros{}, int64(n))
		check(err)
	}
}

func serve() {
	stop := terminated()
	l, err := net.Listen("tcp", ":8080")
	check(err)
	go func() {
		for {
			c, err := l.Accept()
			check(err)
			fmt.Fprintln(c, "hello")
			c.Close()
		}
	}()
	fmt.Println("serving")
	<-stop
}

func terminated() <-chan os.Signal {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	return stop
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '0'
	}
	return len(p), nil
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
