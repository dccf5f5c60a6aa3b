package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"syscall"
	"time"
)

// runLeader waits for a leader.
func runLeader(ctx context.Context, o options, t target) (interface{}, error) {
	for {
		leader, err := t.leader(ctx)
		if err == nil {
			return map[string]interface{}{"leader": leader, "unix_ns": time.Now().UnixNano()}, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("no leader in %s: %w", o.deadline, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// runMembers waits until the cluster says that it has so many members and voters. Its first line says that it waits.
func runMembers(ctx context.Context, o options, t target) (interface{}, error) {
	fmt.Println(`{"waiting":true}`)
	for {
		members, err := t.membership(ctx)
		voters := 0
		for _, m := range members {
			if m.Role == "voter" {
				voters++
			}
		}
		if err == nil && len(members) >= o.members && voters >= o.voters {
			return map[string]interface{}{"members": members, "unix_ns": time.Now().UnixNano()}, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%d members, %d voters after %s (last error: %v)", len(members), voters, o.deadline, err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// runFailover kills a process and writes until a write is acknowledged.
func runFailover(ctx context.Context, o options, t target) (interface{}, error) {
	if err := t.prepare(ctx); err != nil {
		return nil, err
	}
	key := time.Now().UnixNano()
	s, err := t.connect(ctx, 0)
	if err != nil {
		return nil, err
	}
	defer s.close()
	if err := s.insert(ctx, key, "before"); err != nil {
		return nil, fmt.Errorf("the write before the kill: %w", err)
	}
	begin := time.Now()
	if o.killPid > 0 {
		if err := syscall.Kill(o.killPid, syscall.SIGKILL); err != nil {
			return nil, fmt.Errorf("kill -9 %d: %w", o.killPid, err)
		}
	}
	end, attempts, err := attempt(ctx, o, t, func(ctx context.Context, s session) error {
		return s.insert(ctx, atomic.AddInt64(&key, 1), "after")
	})
	if err != nil {
		return nil, err
	}
	return map[string]interface{}{"ms": milliseconds(end.Sub(begin)), "attempts": attempts}, nil
}

// runProbe says when, from now on, a write is acknowledged and a read is answered.
func runProbe(ctx context.Context, o options, t target) (interface{}, error) {
	fmt.Println(`{"waiting":true}`)
	key, written := time.Now().UnixNano(), int64(0)
	write, _, err := attempt(ctx, o, t, func(ctx context.Context, s session) error {
		mine := atomic.AddInt64(&key, 1)
		err := s.insert(ctx, mine, "probe")
		if err == nil {
			atomic.StoreInt64(&written, mine)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	read, _, err := attempt(ctx, o, t, func(ctx context.Context, s session) error { return s.read(ctx, atomic.LoadInt64(&written)) })
	if err != nil {
		return nil, err
	}
	return map[string]interface{}{"write_unix_ns": write.UnixNano(), "read_unix_ns": read.UnixNano()}, nil
}

// Attempts begin at this pace, and no more than so many at a time: one that hangs on a dead member then costs the
// measurement nothing, and the member that comes is not met by a storm.
const (
	attemptPace  = 20 * time.Millisecond
	attemptLimit = 8
)

// attempt tries an operation, each time on a connection of its own, until one try succeeds, and says when that was.
func attempt(ctx context.Context, o options, t target, op func(context.Context, session) error) (time.Time, int, error) {
	type outcome struct {
		end time.Time
		err error
	}
	outcomes := make(chan outcome, attemptLimit)
	try := func() {
		one, cancel := context.WithTimeout(ctx, o.attempt)
		defer cancel()
		s, err := t.connect(one, 0)
		if err == nil {
			err = op(one, s)
			defer s.close()
		}
		outcomes <- outcome{time.Now(), err}
	}
	pace := time.NewTicker(attemptPace)
	defer pace.Stop()
	last := error(nil)
	for attempts, flying := 0, 0; ; {
		if flying < attemptLimit {
			attempts++
			flying++
			go try()
		}
		wait := pace.C
		for wait != nil {
			select {
			case <-wait:
				wait = nil
			case out := <-outcomes:
				flying--
				if out.err == nil {
					return out.end, attempts, nil
				}
				last = out.err
			case <-ctx.Done():
				return time.Time{}, attempts, fmt.Errorf("no success in %s, %d attempts: %v", o.deadline, attempts, last)
			}
		}
	}
}
