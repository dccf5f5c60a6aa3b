package main

import "context"

// target is a system under load.
type target interface {
	// prepare makes the table that inserts and reads use; it may exist.
	prepare(ctx context.Context) error
	// connect opens one connection of a worker's own.
	connect(ctx context.Context, worker int) (session, error)
	// leader is the address of the leader, or an error while none is known.
	leader(ctx context.Context) (string, error)
	// membership is what the cluster says of its members.
	membership(ctx context.Context) ([]member, error)
	close()
}

// session is one connection. It is used by one worker at a time.
type session interface {
	insert(ctx context.Context, key int64, value string) error
	update(ctx context.Context, key int64, size int) error
	read(ctx context.Context, key int64) error
	// fill adds rows of a size to the table of updates, as one transaction.
	fill(ctx context.Context, rows int, size int) error
	close()
}

type member struct {
	ID      uint64 `json:"id"`
	Address string `json:"address"`
	Role    string `json:"role"`
}

// busy errors are repeated after a millisecond by the same worker, as applications on dqlite do; the time counts.
type busyError interface{ busy() bool }

func isBusy(err error) bool {
	b, is := err.(busyError)
	return is && b.busy()
}
