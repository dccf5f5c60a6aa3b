package main

import (
	"context"
	"fmt"
	"strings"
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

// runFailover kills a process and writes until a write is acknowledged. Each attempt is bounded, so that one that hangs on
// the dead leader does not count as the cluster's time.
func runFailover(ctx context.Context, o options, t target) (interface{}, error) {
	if err := t.prepare(ctx); err != nil {
		return nil, err
	}
	key := time.Now().UnixNano()
	s, err := t.connect(ctx, 0)
	if err != nil {
		return nil, err
	}
	if err := s.insert(ctx, key, "before"); err != nil {
		return nil, fmt.Errorf("the write before the kill: %w", err)
	}
	begin := time.Now()
	if o.killPid > 0 {
		if err := syscall.Kill(o.killPid, syscall.SIGKILL); err != nil {
			return nil, fmt.Errorf("kill -9 %d: %w", o.killPid, err)
		}
	}
	attempts, last, err := attempt(ctx, o, t, s, func(ctx context.Context, s session) error {
		key++
		return s.insert(ctx, key, "after")
	})
	if err != nil {
		return nil, err
	}
	return map[string]interface{}{"ms": milliseconds(time.Since(begin)), "attempts": attempts, "last_error": last}, nil
}

// runProbe says how long from now until a write is acknowledged and a read is answered.
func runProbe(ctx context.Context, o options, t target) (interface{}, error) {
	fmt.Println(`{"waiting":true}`)
	key := time.Now().UnixNano()
	if _, _, err := attempt(ctx, o, t, nil, func(ctx context.Context, s session) error {
		key++
		return s.insert(ctx, key, "probe")
	}); err != nil {
		return nil, err
	}
	write := time.Now().UnixNano()
	if _, _, err := attempt(ctx, o, t, nil, func(ctx context.Context, s session) error { return s.read(ctx, key) }); err != nil {
		return nil, err
	}
	return map[string]interface{}{"write_unix_ns": write, "read_unix_ns": time.Now().UnixNano()}, nil
}

// attempt repeats an operation, on a fresh connection after each failure, until it succeeds.
func attempt(ctx context.Context, o options, t target, s session, op func(context.Context, session) error) (int, string, error) {
	last := []string{}
	for attempts := 1; ; attempts++ {
		one, cancel := context.WithTimeout(ctx, o.attempt)
		var err error
		if s == nil {
			s, err = t.connect(one, 0)
		}
		if err == nil {
			err = op(one, s)
		}
		cancel()
		if err == nil {
			s.close()
			return attempts, strings.Join(last, "; "), nil
		}
		if len(last) == 0 || last[len(last)-1] != err.Error() {
			last = append(last, err.Error())
		}
		if s != nil && !isBusy(err) {
			s.close()
			s = nil
		}
		select {
		case <-ctx.Done():
			return attempts, "", fmt.Errorf("no success in %s, %d attempts: %w", o.deadline, attempts, err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
