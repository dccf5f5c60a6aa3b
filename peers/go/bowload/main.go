// bowload is the load program of `cargo xtask bench sql`: the same loops against dqlite, Bowline and etcd.
//
//	bowload insert   single-row autocommit inserts (etcd: puts), closed loop, one pinned connection a worker
//	bowload update   updates of random rows of the table that `fill` made, closed loop
//	bowload read     reads of one row by its key
//	bowload fill     a table of a given number of bytes, in transactions of about 4 MiB
//	bowload failover kill -9 of a process, and the time until the next acknowledged write
//	bowload probe    the time until a write and a read are answered, from now on
//	bowload members  waits until the cluster has a number of members or voters, and says when it had them
//	bowload leader   waits for a leader and says which address it is
//
// Every command prints one JSON object on standard output. dqlite and Bowline are spoken to through go-dqlite's
// database/sql driver; nothing here knows which of the two it talks to.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc/grpclog"
)

// options are the flags of all commands.
type options struct {
	system   string
	servers  []string
	via      []string
	database string
	conns    int
	seconds  float64
	warm     float64
	total    int64
	keyFrom  int64
	keys     int64
	size     int
	killPid  int
	members  int
	voters   int
	deadline time.Duration
	attempt  time.Duration
}

func parse(args []string) (options, error) {
	var o options
	var servers, via string
	flags := flag.NewFlagSet("bowload", flag.ContinueOnError)
	flags.StringVar(&o.system, "system", "dqlite", "protocol: dqlite or etcd")
	flags.StringVar(&servers, "servers", "", "addresses, separated by commas")
	flags.StringVar(&via, "via", "", "addresses that connections really go to, in turn, whoever leads (for reads on followers)")
	flags.StringVar(&o.database, "db", "bench", "database name, with its suffix if it has one")
	flags.IntVar(&o.conns, "conns", 1, "workers, each with a connection of its own")
	flags.Float64Var(&o.seconds, "secs", 3, "seconds to measure")
	flags.Float64Var(&o.warm, "warm", 0.3, "seconds before that, not measured")
	flags.Int64Var(&o.total, "total", 0, "stop after so many operations (fill: bytes)")
	flags.Int64Var(&o.keyFrom, "key-from", 1, "first key of inserts")
	flags.Int64Var(&o.keys, "keys", 1000, "reads and updates choose among keys 1 to this")
	flags.IntVar(&o.size, "size", 100, "bytes of a row's value")
	flags.IntVar(&o.killPid, "kill-pid", 0, "process to kill (failover)")
	flags.IntVar(&o.members, "members", 0, "members to wait for")
	flags.IntVar(&o.voters, "voters", 0, "voters to wait for")
	flags.DurationVar(&o.deadline, "deadline", 60*time.Second, "give up after this long")
	flags.DurationVar(&o.attempt, "attempt", 400*time.Millisecond, "time for one attempt (failover, probe)")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if servers == "" {
		return o, fmt.Errorf("-servers is needed")
	}
	o.servers = strings.Split(servers, ",")
	if via != "" {
		o.via = strings.Split(via, ",")
	}
	if o.system != "dqlite" && o.system != "etcd" {
		return o, fmt.Errorf("-system is dqlite or etcd, not %q", o.system)
	}
	return o, nil
}

var commands = map[string]func(context.Context, options, target) (interface{}, error){
	"insert":   runInsert,
	"update":   runUpdate,
	"read":     runRead,
	"fill":     runFill,
	"failover": runFailover,
	"probe":    runProbe,
	"members":  runMembers,
	"leader":   runLeader,
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bowload:", err)
		os.Exit(1)
	}
}

func run() error {
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
	if len(os.Args) < 2 {
		return fmt.Errorf("a command is needed: insert, update, read, fill, failover, probe, members, leader")
	}
	command, known := commands[os.Args[1]]
	if !known {
		return fmt.Errorf("no command %q", os.Args[1])
	}
	o, err := parse(os.Args[2:])
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), o.deadline)
	defer cancel()
	var t target
	if o.system == "etcd" {
		t = newEtcd(o)
	} else {
		t = newDqlite(o)
	}
	defer t.close()
	answer, err := command(ctx, o, t)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(answer)
}
