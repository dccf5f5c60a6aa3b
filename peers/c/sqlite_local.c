/* A local SQLite file, WAL with synchronous=FULL: what one writer gets without any replication.
 *
 *   sqlite_local insert|read FILE SECONDS
 *
 * "insert" makes the file and adds single rows of 100 bytes, each its own transaction; "read" selects single rows by key
 * from it. Prints one JSON object with the same names that bowload prints.
 * Build: cc -O2 -o sqlite_local sqlite_local.c -lsqlite3 */
#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static int fail(sqlite3 *db, const char *what) {
  fprintf(stderr, "%s: %s\n", what, db ? sqlite3_errmsg(db) : "out of memory");
  return 1;
}

int main(int argc, char **argv) {
  if (argc != 4 || (strcmp(argv[1], "insert") && strcmp(argv[1], "read"))) {
    fprintf(stderr, "usage: sqlite_local insert|read FILE SECONDS\n");
    return 2;
  }
  int reading = !strcmp(argv[1], "read");
  double seconds = atof(argv[3]);
  size_t room = 1 << 20, n = 0;
  double *took = malloc(room * sizeof *took);
  sqlite3 *db = NULL;
  sqlite3_stmt *statement = NULL;
  if (!took || sqlite3_open(argv[2], &db) != SQLITE_OK) return fail(db, "open");
  if (sqlite3_exec(db,
                   "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                   "CREATE TABLE IF NOT EXISTS kv (k INTEGER PRIMARY KEY, v TEXT)",
                   NULL, NULL, NULL) != SQLITE_OK)
    return fail(db, "prepare the file");
  const char *sql = reading ? "SELECT v FROM kv WHERE k = ?" : "INSERT INTO kv(k, v) VALUES(?, ?)";
  if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK) return fail(db, sql);
  sqlite3_int64 rows = 0;
  if (reading) {
    sqlite3_stmt *last = NULL;
    if (sqlite3_prepare_v2(db, "SELECT max(k) FROM kv", -1, &last, NULL) != SQLITE_OK || sqlite3_step(last) != SQLITE_ROW)
      return fail(db, "count the rows");
    rows = sqlite3_column_int64(last, 0);
    sqlite3_finalize(last);
    if (rows == 0) return fail(db, "the table is empty");
    if (rows > 1000) rows = 1000;
  }
  char value[100];
  memset(value, 'x', sizeof value);
  uint64_t random = 1;
  double begin = now(), at = begin;
  while (at - begin < seconds) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    sqlite3_bind_int64(statement, 1, reading ? (sqlite3_int64)(random >> 33) % rows + 1 : (sqlite3_int64)n + 1);
    if (!reading) sqlite3_bind_text(statement, 2, value, sizeof value, SQLITE_STATIC);
    if (sqlite3_step(statement) != (reading ? SQLITE_ROW : SQLITE_DONE)) return fail(db, sql);
    sqlite3_reset(statement);
    double end = now();
    if (n == room) {
      room *= 2;
      took = realloc(took, room * sizeof *took);
      if (!took) return fail(NULL, "latencies");
    }
    took[n++] = (end - at) * 1e3;
    at = end;
  }
  double elapsed = at - begin;
  qsort(took, n, sizeof *took, by_value);
  printf("{\"n\":%zu,\"seconds\":%.3f,\"per_second\":%.1f,\"p50_ms\":%.4f,\"p90_ms\":%.4f,\"p99_ms\":%.4f,\"max_ms\":%.3f}\n", n,
         elapsed, (double)n / elapsed, took[n / 2], took[n * 9 / 10], took[n * 99 / 100], took[n - 1]);
  sqlite3_finalize(statement);
  sqlite3_close(db);
  free(took);
  return 0;
}
