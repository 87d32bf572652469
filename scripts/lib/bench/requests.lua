-- wrk's requests of one workload: point, list20, patch or post.
--
-- The settings come by the environment: BENCH_WORKLOAD, SERVICE_AUTH_TOKEN and how
-- the tasks were seeded (see seed.sql): BENCH_FIRST_ID, BENCH_TASKS, BENCH_USERS.
-- The last line of the output is for scripts/bench:
--   RESULT requests seconds p50_us p99_us failed

local workload = os.getenv("BENCH_WORKLOAD")
local first_id = tonumber(os.getenv("BENCH_FIRST_ID") or "1")
local tasks = tonumber(os.getenv("BENCH_TASKS") or "1")
local users = tonumber(os.getenv("BENCH_USERS") or "1")

local headers = {
  ["Authorization"] = "Bearer " .. os.getenv("SERVICE_AUTH_TOKEN"),
  ["Content-Type"] = "application/json",
}

local function random_user()
  return tostring(1000 + math.random(0, users - 1))
end

-- A random task and its owner.
local function random_task()
  local n = math.random(0, tasks - 1)
  headers["X-User-ID"] = tostring(1000 + n % users)
  return "/tasks/" .. string.format("%d", first_id + n)
end

local make = {
  point = function()
    return wrk.format("GET", random_task(), headers)
  end,
  list20 = function()
    headers["X-User-ID"] = random_user()
    return wrk.format("GET", "/tasks/?limit=20", headers)
  end,
  patch = function()
    local completed = math.random(0, 1) == 1 and "true" or "false"
    return wrk.format("PATCH", random_task(), headers, '{"completed": ' .. completed .. "}")
  end,
  post = function()
    headers["X-User-ID"] = random_user()
    local body = '{"title": "Water the plants", "description": "The ferns too", "priority": "High"}'
    return wrk.format("POST", "/tasks/", headers, body)
  end,
}

request = assert(make[workload], "BENCH_WORKLOAD names no workload")

-- Each thread has a sequence of its own.
local threads = 0
function setup(thread)
  threads = threads + 1
  thread:set("seed", threads)
end

function init()
  math.randomseed(os.time() * 100 + seed)
end

function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format(
    "RESULT %d %.6f %d %d %d\n",
    summary.requests,
    summary.duration / 1e6,
    latency:percentile(50),
    latency:percentile(99),
    failed
  ))
end
