package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/canonical/go-dqlite/client"
	"github.com/canonical/go-dqlite/driver"
)

// dqliteTarget is anything that speaks dqlite's protocol: dqlite, or Bowline.
type dqliteTarget struct {
	o   options
	mu  sync.Mutex
	dbs []*sql.DB
}

func newDqlite(o options) *dqliteTarget { return &dqliteTarget{o: o} }

func quiet(client.LogLevel, string, ...interface{}) {}

// open makes a pool. With via, the driver still looks for the leader by name, but its bytes go to via: a follower answers
// LEADER with the leader's name, so the driver is content, and the follower serves what the read level lets it serve.
func (t *dqliteTarget) open(via string) (*sql.DB, error) {
	infos := []client.NodeInfo{}
	for i, address := range t.o.servers {
		infos = append(infos, client.NodeInfo{ID: uint64(i + 1), Address: address})
	}
	store := client.NewInmemNodeStore()
	if via != "" {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		leader, err := t.leader(ctx)
		if err != nil {
			return nil, err
		}
		infos = []client.NodeInfo{{ID: 1, Address: leader}}
	}
	if err := store.Set(context.Background(), infos); err != nil {
		return nil, err
	}
	dial := func(ctx context.Context, address string) (net.Conn, error) {
		if via != "" {
			address = via
		}
		return client.DefaultDialFunc(ctx, address)
	}
	d, err := driver.New(store,
		driver.WithLogFunc(quiet),
		driver.WithDialFunc(dial),
		// The default back-off (100 ms to 1 s) would be what a fail-over measures.
		driver.WithConnectionBackoffFactor(5*time.Millisecond),
		driver.WithConnectionBackoffCap(20*time.Millisecond),
	)
	if err != nil {
		return nil, err
	}
	connector, err := d.OpenConnector(t.o.database)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(t.o.conns + attemptLimit)
	db.SetMaxIdleConns(t.o.conns + attemptLimit)
	t.dbs = append(t.dbs, db)
	return db, nil
}

func (t *dqliteTarget) pool(worker int) (*sql.DB, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	wanted := len(t.o.via)
	if wanted == 0 {
		wanted = 1
	}
	for len(t.dbs) < wanted {
		via := ""
		if len(t.o.via) > 0 {
			via = t.o.via[len(t.dbs)]
		}
		if _, err := t.open(via); err != nil {
			return nil, err
		}
	}
	return t.dbs[worker%wanted], nil
}

func (t *dqliteTarget) prepare(ctx context.Context) error {
	db, err := t.pool(0)
	if err != nil {
		return err
	}
	for _, statement := range []string{
		"CREATE TABLE IF NOT EXISTS kv (k INTEGER PRIMARY KEY, v TEXT)",
		"CREATE TABLE IF NOT EXISTS filler (k INTEGER PRIMARY KEY, v BLOB)",
	} {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

func (t *dqliteTarget) connect(ctx context.Context, worker int) (session, error) {
	db, err := t.pool(worker)
	if err != nil {
		return nil, err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	return &dqliteSession{conn}, nil
}

// ask runs a question on the first member that answers it.
func (t *dqliteTarget) ask(ctx context.Context, question func(context.Context, *client.Client) error) error {
	last := errors.New("no server given")
	for _, address := range t.o.servers {
		one, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		c, err := client.New(one, address, client.WithLogFunc(quiet))
		if err == nil {
			err = question(one, c)
			c.Close()
		}
		cancel()
		if err == nil {
			return nil
		}
		last = fmt.Errorf("%s: %w", address, err)
	}
	return last
}

func (t *dqliteTarget) leader(ctx context.Context) (string, error) {
	address := ""
	err := t.ask(ctx, func(ctx context.Context, c *client.Client) error {
		info, err := c.Leader(ctx)
		if err != nil {
			return err
		}
		if info == nil || info.Address == "" {
			return errors.New("knows no leader")
		}
		address = info.Address
		return nil
	})
	return address, err
}

func (t *dqliteTarget) membership(ctx context.Context) ([]member, error) {
	members := []member{}
	err := t.ask(ctx, func(ctx context.Context, c *client.Client) error {
		infos, err := c.Cluster(ctx)
		if err != nil {
			return err
		}
		members = members[:0]
		for _, info := range infos {
			members = append(members, member{info.ID, info.Address, info.Role.String()})
		}
		return nil
	})
	return members, err
}

func (t *dqliteTarget) close() {
	for _, db := range t.dbs {
		db.Close()
	}
}

type dqliteSession struct{ conn *sql.Conn }

// dqliteError knows SQLite's BUSY, which dqlite answers when somebody else writes.
type dqliteError struct{ error }

func (e dqliteError) Unwrap() error { return e.error }
func (e dqliteError) busy() bool {
	var d driver.Error
	if errors.As(e.error, &d) && d.Code&0xff == driver.ErrBusy {
		return true
	}
	text := e.error.Error()
	return strings.Contains(text, "database is locked") || strings.Contains(text, "checkpoint in progress")
}

func wrap(err error) error {
	if err == nil {
		return nil
	}
	return dqliteError{err}
}

func (s *dqliteSession) insert(ctx context.Context, key int64, value string) error {
	_, err := s.conn.ExecContext(ctx, "INSERT INTO kv(k, v) VALUES(?, ?)", key, value)
	return wrap(err)
}

func (s *dqliteSession) update(ctx context.Context, key int64, size int) error {
	_, err := s.conn.ExecContext(ctx, "UPDATE filler SET v = randomblob(?) WHERE k = ?", size, key)
	return wrap(err)
}

func (s *dqliteSession) read(ctx context.Context, key int64) error {
	var value string
	return wrap(s.conn.QueryRowContext(ctx, "SELECT v FROM kv WHERE k = ?", key).Scan(&value))
}

func (s *dqliteSession) fill(ctx context.Context, rows int, size int) error {
	_, err := s.conn.ExecContext(ctx,
		"INSERT INTO filler(v) WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < ?) SELECT randomblob(?) FROM c",
		rows, size)
	return wrap(err)
}

func (s *dqliteSession) close() { s.conn.Close() }
