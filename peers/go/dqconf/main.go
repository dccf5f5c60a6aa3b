// dqconf checks a server of the dqlite protocol from outside: with Canonical's own go-dqlite driver and client, and with
// hand-made messages where the driver does not go.
//
//	dqconf -s HOST:PORT,... [-db NAME] [-peer bowline|dqlite-1.11] [-pids HOST:PORT=PID,...] [-only NAME,...]
//
// One line a check: "ok", "FAIL" with the reason, "skip" with the reason, or "known": the peer is a version of dqlite that is
// known to answer otherwise. It ends with a count and exits 1 if a check failed. With -pids the last check kills the leader
// with kill -9 and goes on.
//
// Pure Go: CGO_ENABLED=0 GO111MODULE=off GOPATH=/usr/share/gocode go build -o dqconf ./peers/go/dqconf
package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/canonical/go-dqlite/client"
	"github.com/canonical/go-dqlite/driver"
)

// peerDqlite is Debian 12's dqlite, which is known to end on some ordinary SQL.
const peerDqlite = "dqlite-1.11"

// check is one thing a server must do.
type check struct {
	name string
	run  func(*suite) error
	// unsafe says why the check is not run against peerDqlite: it ends or hangs the server.
	unsafe string
	// known says how peerDqlite, or Debian's client, is known to deviate.
	known string
}

// suite is what checks share.
type suite struct {
	servers []string
	name    string
	peer    string
	pids    map[string]int
	driver  *driver.Driver
}

// skipped is a check's way to say that it does not apply here.
type skipped string

func (s skipped) Error() string { return string(s) }

func quiet(client.LogLevel, string, ...interface{}) {}

func main() {
	servers := flag.String("s", "127.0.0.1:9000", "addresses of the servers, separated by commas")
	name := flag.String("db", "conf", "name of the database to work in; a second one has -other behind it")
	peer := flag.String("peer", "bowline", "bowline, or "+peerDqlite)
	pids := flag.String("pids", "", "ADDRESS=PID of the servers' processes, separated by commas: allows kill -9")
	only := flag.String("only", "", "names of the checks to run, separated by commas")
	flag.Parse()
	s := &suite{servers: strings.Split(*servers, ","), name: *name, peer: *peer, pids: parsePids(*pids)}
	store := client.NewInmemNodeStore()
	must(store.Set(context.Background(), s.nodes()))
	d, err := driver.New(store, driver.WithLogFunc(quiet), driver.WithConnectionTimeout(20*time.Second))
	must(err)
	s.driver = d
	counts := map[string]int{}
	for _, c := range checks() {
		if *only != "" && !contains(strings.Split(*only, ","), c.name) {
			continue
		}
		begin := time.Now()
		verdict, why := s.verdict(c)
		counts[verdict]++
		fmt.Printf("%-5s %-52s %6.0f ms", verdict, c.name, float64(time.Since(begin).Microseconds())/1000)
		if why != "" {
			fmt.Print("  ", why)
		}
		fmt.Println()
	}
	fmt.Printf("%d ok, %d failed, %d known, %d skipped\n", counts["ok"], counts["FAIL"], counts["known"], counts["skip"])
	if counts["FAIL"] > 0 {
		os.Exit(1)
	}
}

func checks() []check {
	all := protocolChecks()
	all = append(all, valueChecks()...)
	all = append(all, sqlChecks()...)
	return append(all, clusterChecks()...)
}

func (s *suite) verdict(c check) (verdict, why string) {
	if s.peer == peerDqlite && c.unsafe != "" {
		return "skip", c.unsafe
	}
	done := make(chan error, 1)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				done <- fmt.Errorf("the client panicked: %v", r)
			}
		}()
		done <- c.run(s)
	}()
	var err error
	select {
	case err = <-done:
	case <-time.After(90 * time.Second):
		err = errors.New("not done after 90 s")
	}
	var skip skipped
	switch {
	case err == nil:
		return "ok", ""
	case errors.As(err, &skip):
		return "skip", skip.Error()
	case s.peer == peerDqlite && c.known != "":
		return "known", c.known + ": " + err.Error()
	default:
		return "FAIL", err.Error()
	}
}

func (s *suite) nodes() []client.NodeInfo {
	infos := []client.NodeInfo{}
	for i, address := range s.servers {
		infos = append(infos, client.NodeInfo{ID: uint64(i + 1), Address: address})
	}
	return infos
}

// open gives a pool on the database that all checks work in.
func (s *suite) open() (*sql.DB, error) { return s.openNamed(s.name) }

func (s *suite) openNamed(name string) (*sql.DB, error) {
	connector, err := s.driver.OpenConnector(name)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

// with runs a check on a fresh table t(id INTEGER PRIMARY KEY, v) unless other statements are given.
func (s *suite) with(run func(*sql.DB) error, statements ...string) error {
	db, err := s.open()
	if err != nil {
		return err
	}
	defer db.Close()
	if len(statements) == 0 {
		statements = []string{"CREATE TABLE t(id INTEGER PRIMARY KEY, v)"}
	}
	if _, err := db.Exec("DROP TABLE IF EXISTS t"); err != nil {
		return err
	}
	for _, statement := range statements {
		if _, err := db.Exec(statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return run(db)
}

// leader gives the leader's address.
func (s *suite) leader(ctx context.Context) (string, error) {
	store := client.NewInmemNodeStore()
	if err := store.Set(ctx, s.nodes()); err != nil {
		return "", err
	}
	c, err := client.FindLeader(ctx, store, client.WithLogFunc(quiet))
	if err != nil {
		return "", err
	}
	defer c.Close()
	info, err := c.Leader(ctx)
	if err != nil {
		return "", err
	}
	return info.Address, nil
}

// atLeader runs a check with a client of the leader.
func (s *suite) atLeader(run func(context.Context, *client.Client) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	address, err := s.leader(ctx)
	if err != nil {
		return err
	}
	c, err := client.New(ctx, address)
	if err != nil {
		return err
	}
	defer c.Close()
	return run(ctx, c)
}

// code is the number in a driver's error.
func code(err error) int {
	var e driver.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return -1
}

func expectCode(err error, codes ...int) error {
	for _, c := range codes {
		if code(err) == c {
			return nil
		}
	}
	return fmt.Errorf("expected code %v, got %v (code %d)", codes, err, code(err))
}

func expect(what string, got, want interface{}) error {
	if fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", want) {
		return fmt.Errorf("%s: got %#v, want %#v", what, got, want)
	}
	return nil
}

// first gives the first error.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func contains(all []string, one string) bool {
	for _, s := range all {
		if s == one {
			return true
		}
	}
	return false
}

func parsePids(text string) map[string]int {
	pids := map[string]int{}
	for _, pair := range strings.Split(text, ",") {
		if i := strings.LastIndex(pair, "="); i > 0 {
			pid, err := strconv.Atoi(pair[i+1:])
			must(err)
			pids[pair[:i]] = pid
		}
	}
	return pids
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "dqconf:", err)
		os.Exit(2)
	}
}
