// dqnode is one member of a real dqlite cluster: the process that Bowline is measured and tested against.
//
//	dqnode -dir DIR -addr HOST:PORT [-join HOST:PORT,...]
//
// It prints "READY <id>" on standard output once the node has its role, and hands over and stops on SIGTERM or SIGINT.
// It runs go-dqlite's own `app` layer with its defaults, as LXD and MicroCluster do.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/canonical/go-dqlite/app"
	"github.com/canonical/go-dqlite/client"
)

func main() {
	dir := flag.String("dir", "", "directory of this node's state")
	addr := flag.String("addr", "", "address to listen on, also the node's name in the cluster")
	join := flag.String("join", "", "addresses of existing members, separated by commas")
	flag.Parse()
	if err := run(*dir, *addr, *join); err != nil {
		fmt.Fprintln(os.Stderr, "dqnode:", err)
		os.Exit(1)
	}
}

func run(dir, addr, join string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	options := []app.Option{app.WithAddress(addr), app.WithLogFunc(logWarnings)}
	if join != "" {
		options = append(options, app.WithCluster(strings.Split(join, ",")))
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	node, err := app.New(dir, options...)
	if err != nil {
		return err
	}
	defer node.Close()
	ready, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	if err := node.Ready(ready); err != nil {
		return err
	}
	fmt.Printf("READY %d\n", node.ID())
	<-stop
	leaving, cancelLeaving := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancelLeaving()
	return node.Handover(leaving)
}

func logWarnings(level client.LogLevel, format string, args ...interface{}) {
	if level >= client.LogWarn {
		fmt.Fprintf(os.Stderr, "%s %s %s\n", time.Now().Format("15:04:05.000"), level, fmt.Sprintf(format, args...))
	}
}
