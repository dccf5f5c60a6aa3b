package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/canonical/go-dqlite/client"
)

func clusterChecks() []check {
	return []check{
		{name: "leader-is-one-of-the-servers", run: leaderIsKnown},
		{name: "every-voter-names-the-leader", run: everyVoterNamesTheLeader},
		{name: "cluster-lists-the-servers", run: clusterLists},
		{name: "three-voters", run: threeVoters},
		{name: "describe-and-weight", run: describeAndWeight},
		{name: "dump", run: dump},
		{name: "dump-of-nothing-is-refused", run: dumpOfNothing},
		{name: "add-of-a-member-is-refused", run: addOfMember},
		{name: "assign-the-role-it-has", run: assignSame, known: "1.11 refuses"},
		{name: "remove-of-a-stranger-is-refused", run: removeStranger},
		{name: "transfer", run: transfer},
		{name: "work-goes-on-through-transfers", run: workThroughTransfers},
		{name: "work-goes-on-through-kill-9", run: workThroughKill},
	}
}

func leaderIsKnown(s *suite) error {
	return s.atLeader(func(ctx context.Context, c *client.Client) error {
		info, err := c.Leader(ctx)
		if err != nil {
			return err
		}
		if info.ID == 0 || !contains(s.servers, info.Address) {
			return fmt.Errorf("the leader is %d at %q, not one of %v", info.ID, info.Address, s.servers)
		}
		return nil
	})
}

func everyVoterNamesTheLeader(s *suite) error {
	return s.atLeader(func(ctx context.Context, c *client.Client) error {
		members, err := c.Cluster(ctx)
		if err != nil {
			return err
		}
		want, err := c.Leader(ctx)
		if err != nil {
			return err
		}
		for _, m := range members {
			if m.Role != client.Voter {
				continue
			}
			one, err := client.New(ctx, m.Address)
			if err != nil {
				return err
			}
			got, err := one.Leader(ctx)
			one.Close()
			if err := first(err, expect("leader as "+m.Address+" has it", got, want)); err != nil {
				return err
			}
		}
		return nil
	})
}

func clusterLists(s *suite) error {
	return s.atLeader(func(ctx context.Context, c *client.Client) error {
		members, err := c.Cluster(ctx)
		if err != nil {
			return err
		}
		voters, seen := 0, map[string]bool{}
		for _, m := range members {
			if m.ID == 0 {
				return errors.New("a member with id 0")
			}
			if m.Role == client.Voter {
				voters++
			}
			seen[m.Address] = true
		}
		for _, address := range s.servers {
			if !seen[address] {
				return fmt.Errorf("%s is not in %v", address, members)
			}
		}
		if voters == 0 {
			return errors.New("no voter")
		}
		return nil
	})
}

func threeVoters(s *suite) error {
	if len(s.servers) != 3 {
		return skipped("needs three servers")
	}
	return s.atLeader(func(ctx context.Context, c *client.Client) error {
		members, err := c.Cluster(ctx)
		if err != nil {
			return err
		}
		voters := 0
		for _, m := range members {
			if m.Role == client.Voter {
				voters++
			}
		}
		return expect("voters", voters, 3)
	})
}

func describeAndWeight(s *suite) error {
	return s.atLeader(func(ctx context.Context, c *client.Client) error {
		if err := c.Weight(ctx, 7); err != nil {
			return err
		}
		meta, err := c.Describe(ctx)
		if err != nil {
			return err
		}
		return first(expect("weight", meta.Weight, uint64(7)), c.Weight(ctx, 0))
	})
}

func dump(s *suite) error {
	return s.with(func(db *sql.DB) error {
		if _, err := db.Exec("INSERT INTO t(v) SELECT 'needle-in-' || n FROM (" + series(2000) + ")"); err != nil {
			return err
		}
		return s.atLeader(func(ctx context.Context, c *client.Client) error {
			files, err := c.Dump(ctx, s.name)
			if err != nil {
				return err
			}
			if len(files) != 2 || files[0].Name != s.name || files[1].Name != s.name+"-wal" {
				return fmt.Errorf("%d files", len(files))
			}
			main, wal := files[0].Data, files[1].Data
			if !bytes.HasPrefix(main, []byte("SQLite format 3\x00")) && len(wal) == 0 {
				return errors.New("not an SQLite file")
			}
			if len(main)%4096 != 0 {
				return fmt.Errorf("%d bytes are no whole pages", len(main))
			}
			if !bytes.Contains(append(main, wal...), []byte("needle-in-2000")) {
				return errors.New("the rows are not in it")
			}
			return nil
		})
	})
}

func dumpOfNothing(s *suite) error {
	return s.atLeader(func(ctx context.Context, c *client.Client) error {
		files, err := c.Dump(ctx, s.name+"-that-nobody-made")
		if err == nil && len(files) > 0 && len(files[0].Data) > 0 {
			return errors.New("there was something")
		}
		_, err = c.Leader(ctx)
		return err
	})
}

func addOfMember(s *suite) error {
	return s.atLeader(func(ctx context.Context, c *client.Client) error {
		members, err := c.Cluster(ctx)
		if err != nil {
			return err
		}
		if err := c.Add(ctx, members[0]); err == nil {
			return errors.New("taken")
		}
		again, err := c.Cluster(ctx)
		return first(err, expect("members", again, members))
	})
}

func assignSame(s *suite) error {
	return s.atLeader(func(ctx context.Context, c *client.Client) error {
		members, err := c.Cluster(ctx)
		if err != nil {
			return err
		}
		return c.Assign(ctx, members[0].ID, members[0].Role)
	})
}

func removeStranger(s *suite) error {
	return s.atLeader(func(ctx context.Context, c *client.Client) error {
		before, err := c.Cluster(ctx)
		if err != nil {
			return err
		}
		if err := c.Remove(ctx, 987654321); err == nil {
			return errors.New("taken")
		}
		after, err := c.Cluster(ctx)
		return first(err, expect("members", after, before))
	})
}

// move transfers leadership to another voter and waits until it leads.
func (s *suite) move(ctx context.Context) error {
	address, err := s.leader(ctx)
	if err != nil {
		return err
	}
	c, err := client.New(ctx, address)
	if err != nil {
		return err
	}
	defer c.Close()
	members, err := c.Cluster(ctx)
	if err != nil {
		return err
	}
	for _, m := range members {
		if m.Role != client.Voter || m.Address == address {
			continue
		}
		if err := c.Transfer(ctx, m.ID); err != nil {
			return err
		}
		for ctx.Err() == nil {
			if now, err := s.leader(ctx); err == nil && now != address {
				return expect("new leader", now, m.Address)
			}
			time.Sleep(10 * time.Millisecond)
		}
		return ctx.Err()
	}
	return skipped("needs a second voter")
}

func transfer(s *suite) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return s.move(ctx)
}

// work writes numbers until it is told to stop, on one connection pool, trying again whatever fails, and then looks whether
// every acknowledged one is there. disturb is called in the middle.
func (s *suite) work(disturb func(context.Context) error) error {
	return s.with(func(db *sql.DB) error {
		ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
		defer cancel()
		var acknowledged []int
		write := func(n int) error {
			one, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			_, err := db.ExecContext(one, "INSERT OR IGNORE INTO t(id, v) VALUES(?, 'x')", n)
			return err
		}
		next := 1
		writeSome := func(count int) error {
			for end := next + count; next < end && ctx.Err() == nil; next++ {
				for write(next) != nil && ctx.Err() == nil {
					time.Sleep(20 * time.Millisecond)
				}
				acknowledged = append(acknowledged, next)
			}
			return ctx.Err()
		}
		if err := writeSome(100); err != nil {
			return err
		}
		if err := disturb(ctx); err != nil {
			return err
		}
		if err := writeSome(100); err != nil {
			return fmt.Errorf("after the disturbance: %w", err)
		}
		for _, n := range acknowledged {
			var v string
			if err := db.QueryRowContext(ctx, "SELECT v FROM t WHERE id = ?", n).Scan(&v); err != nil {
				return fmt.Errorf("acknowledged row %d: %w", n, err)
			}
		}
		return nil
	})
}

func workThroughTransfers(s *suite) error {
	return s.work(func(ctx context.Context) error {
		for i := 0; i < 3; i++ {
			if err := s.move(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

func workThroughKill(s *suite) error {
	if len(s.pids) == 0 {
		return skipped("needs -pids")
	}
	return s.work(func(ctx context.Context) error {
		address, err := s.leader(ctx)
		if err != nil {
			return err
		}
		pid, ok := s.pids[address]
		if !ok {
			return fmt.Errorf("no pid is given for the leader %s", address)
		}
		return syscall.Kill(pid, syscall.SIGKILL)
	})
}
