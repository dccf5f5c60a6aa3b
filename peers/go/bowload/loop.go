package main

import (
	"context"
	"fmt"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// result is what a closed loop measured. Latencies are of whole operations, with the repetitions after BUSY in them.
type result struct {
	N         int     `json:"n"`
	Seconds   float64 `json:"seconds"`
	PerSecond float64 `json:"per_second"`
	P50       float64 `json:"p50_ms"`
	P90       float64 `json:"p90_ms"`
	P99       float64 `json:"p99_ms"`
	Max       float64 `json:"max_ms"`
	GapMax    float64 `json:"gap_max_ms"`
	Busy      int64   `json:"busy_retries"`
	Errors    int64   `json:"errors"`
	LastError string  `json:"last_error,omitempty"`
	LastKey   int64   `json:"last_key,omitempty"`
	ClientCPU float64 `json:"client_cpu_seconds"`
}

// done is one operation: when it ended, since the loop began, and how long it took.
type done struct{ end, took time.Duration }

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func cpuSeconds() float64 {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}

// loop lets every worker repeat an operation until the time is over or the total is reached.
// Each operation has a key, which it keeps when it is repeated after BUSY.
func loop(ctx context.Context, o options, t target, choose func(*rng) int64, op func(context.Context, session, int64) error) (result, error) {
	sessions := make([]session, o.conns)
	for w := range sessions {
		s, err := t.connect(ctx, w)
		if err != nil {
			return result{}, fmt.Errorf("connection %d of %d: %w", w+1, o.conns, err)
		}
		sessions[w] = s
	}
	// A context that can end makes database/sql start a goroutine for each query and go-dqlite set two deadlines for each
	// call: the client would cost more than the server. The caller of this program bounds it instead.
	unbounded := context.Background()
	var r result
	var started int64
	var lastError atomic.Value
	histories := make([][]done, o.conns)
	warm := time.Duration(o.warm * float64(time.Second))
	length := time.Duration(o.seconds * float64(time.Second))
	if o.total > 0 {
		warm, length = 0, o.deadline
	}
	cpu, begin := cpuSeconds(), time.Now()
	var workers sync.WaitGroup
	for w := range sessions {
		workers.Add(1)
		go func(w int) {
			defer workers.Done()
			random := rng(uint64(w+1) * 0x9E3779B97F4A7C15)
			history := make([]done, 0, 4096)
			for ctx.Err() == nil {
				from := time.Since(begin)
				if from >= warm+length || o.total > 0 && atomic.AddInt64(&started, 1) > o.total {
					break
				}
				key := choose(&random)
				err := op(unbounded, sessions[w], key)
				for err != nil && isBusy(err) && time.Since(begin) < warm+length+5*time.Second {
					atomic.AddInt64(&r.Busy, 1)
					time.Sleep(time.Millisecond)
					err = op(unbounded, sessions[w], key)
				}
				if err != nil {
					atomic.AddInt64(&r.Errors, 1)
					lastError.Store(err.Error())
					sessions[w].close()
					fresh, connectErr := t.connect(ctx, w)
					if connectErr != nil {
						lastError.Store(connectErr.Error())
						break
					}
					sessions[w] = fresh
					continue
				}
				if end := time.Since(begin); end >= warm {
					history = append(history, done{end - warm, end - from})
				}
			}
			histories[w] = history
		}(w)
	}
	workers.Wait()
	took := time.Since(begin) - warm
	r.ClientCPU = cpuSeconds() - cpu
	for _, s := range sessions {
		s.close()
	}
	if text, is := lastError.Load().(string); is {
		r.LastError = text
	}
	if o.total == 0 {
		took = length
	}
	r.summarise(histories, took)
	if r.N == 0 {
		return r, fmt.Errorf("no operation succeeded; last error: %s", r.LastError)
	}
	return r, nil
}

func (r *result) summarise(histories [][]done, length time.Duration) {
	var all []done
	for _, h := range histories {
		all = append(all, h...)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].end < all[j].end })
	var previous time.Duration
	for _, d := range all {
		if d.end > length {
			break
		}
		r.N++
		if gap := milliseconds(d.end - previous); gap > r.GapMax {
			r.GapMax = gap
		}
		previous = d.end
	}
	if gap := milliseconds(length - previous); gap > r.GapMax {
		r.GapMax = gap
	}
	r.Seconds = length.Seconds()
	r.PerSecond = float64(r.N) / r.Seconds
	sort.Slice(all, func(i, j int) bool { return all[i].took < all[j].took })
	at := func(share float64) float64 {
		if len(all) == 0 {
			return 0
		}
		i := int(share * float64(len(all)))
		if i >= len(all) {
			i = len(all) - 1
		}
		return milliseconds(all[i].took)
	}
	r.P50, r.P90, r.P99, r.Max = at(.5), at(.9), at(.99), at(1)
}

// rng is splitmix64: cheap, and a worker's own.
type rng uint64

func (r *rng) key(keys int64) int64 {
	*r += 0x9E3779B97F4A7C15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	z ^= z >> 31
	return int64(z%uint64(keys)) + 1
}

func runInsert(ctx context.Context, o options, t target) (interface{}, error) {
	if err := t.prepare(ctx); err != nil {
		return nil, err
	}
	key := o.keyFrom - 1
	value := strings.Repeat("x", o.size)
	next := func(*rng) int64 { return atomic.AddInt64(&key, 1) }
	r, err := loop(ctx, o, t, next, func(ctx context.Context, s session, key int64) error {
		return s.insert(ctx, key, value)
	})
	r.LastKey = key
	return r, err
}

func runUpdate(ctx context.Context, o options, t target) (interface{}, error) {
	any := func(random *rng) int64 { return random.key(o.keys) }
	return loop(ctx, o, t, any, func(ctx context.Context, s session, key int64) error {
		return s.update(ctx, key, o.size)
	})
}

func runRead(ctx context.Context, o options, t target) (interface{}, error) {
	any := func(random *rng) int64 { return random.key(o.keys) }
	return loop(ctx, o, t, any, func(ctx context.Context, s session, key int64) error {
		return s.read(ctx, key)
	})
}

// runFill writes rows of about a page each until their values hold the wanted bytes.
func runFill(ctx context.Context, o options, t target) (interface{}, error) {
	if err := t.prepare(ctx); err != nil {
		return nil, err
	}
	s, err := t.connect(ctx, 0)
	if err != nil {
		return nil, err
	}
	defer func() { s.close() }()
	begin := time.Now()
	rows := int64(0)
	batch := 4 << 20 / o.size
	for rows*int64(o.size) < o.total {
		if err := s.fill(ctx, batch, o.size); err != nil {
			if !isBusy(err) {
				return nil, fmt.Errorf("after %d rows: %w", rows, err)
			}
			time.Sleep(time.Millisecond)
			continue
		}
		rows += int64(batch)
	}
	return map[string]interface{}{"rows": rows, "seconds": time.Since(begin).Seconds()}, nil
}
