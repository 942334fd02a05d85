import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.barriers.DistributedBarrier;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;
import org.apache.curator.framework.recipes.cache.ChildData;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.cache.NodeCache;
import org.apache.curator.framework.recipes.cache.PathChildrenCache;
import org.apache.curator.framework.recipes.cache.TreeCache;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderSelector;
import org.apache.curator.framework.recipes.leader.LeaderSelectorListenerAdapter;
import org.apache.curator.framework.recipes.locks.InterProcessLock;
import org.apache.curator.framework.recipes.locks.InterProcessMultiLock;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.locks.Lease;
import org.apache.curator.framework.recipes.nodes.PersistentNode;
import org.apache.curator.framework.recipes.nodes.PersistentTtlNode;
import org.apache.curator.framework.recipes.shared.SharedCount;
import org.apache.curator.retry.ExponentialBackoffRetry;
import org.apache.curator.retry.RetryNTimes;
import org.apache.zookeeper.CreateMode;

/** Curator's recipes under contention: what they promise is counted and printed in fixed lines. */
public class Recipes {
    static String address;

    interface Work {
        void run(CuratorFramework client, int n) throws Exception;
    }

    interface Question {
        boolean holds() throws Exception;
    }

    static CuratorFramework client() {
        CuratorFramework client = CuratorFrameworkFactory.newClient(
                address, 20000, 10000, new ExponentialBackoffRetry(100, 5));
        client.start();
        return client;
    }

    /** Runs the work in threads, each with a session of its own. */
    static void together(String name, int threads, Work work) throws Exception {
        List<Thread> all = new ArrayList<>();
        AtomicInteger trouble = new AtomicInteger();
        for (int i = 0; i < threads; i++) {
            int n = i;
            Thread thread = new Thread(() -> {
                try (CuratorFramework client = client()) {
                    work.run(client, n);
                } catch (Exception e) {
                    trouble.incrementAndGet();
                    e.printStackTrace();
                }
            });
            thread.setDaemon(true);
            thread.start();
            all.add(thread);
        }
        int stuck = 0;
        for (Thread thread : all) {
            thread.join(60000);
            stuck += thread.isAlive() ? 1 : 0;
        }
        System.out.println(name + ": trouble " + trouble.get() + ", stuck " + stuck);
    }

    /** How many were inside at once. */
    static class Gauge {
        int inside, most, entries;

        synchronized void enter() {
            inside++;
            entries++;
            most = Math.max(most, inside);
        }

        synchronized void leave() {
            inside--;
        }
    }

    static void await(String what, Question question) throws Exception {
        long end = System.nanoTime() + 60_000_000_000L;
        while (!question.holds()) {
            if (System.nanoTime() > end) {
                System.out.println(what + ": waited in vain");
                return;
            }
            Thread.sleep(5);
        }
        System.out.println(what + ": yes");
    }

    static void guarded(InterProcessLock lock, Gauge gauge, int times) throws Exception {
        for (int i = 0; i < times; i++) {
            if (!lock.acquire(40, TimeUnit.SECONDS)) {
                throw new IllegalStateException("no lock");
            }
            gauge.enter();
            Thread.sleep(2);
            gauge.leave();
            lock.release();
        }
    }

    static void locks() throws Exception {
        Gauge one = new Gauge();
        together("mutex", 10,
                (client, n) -> guarded(new InterProcessMutex(client, "/l/m"), one, 5));
        System.out.println("mutex entries " + one.entries + " most " + one.most);
        Gauge many = new Gauge();
        together("multi-lock", 10, (client, n) -> guarded(
                new InterProcessMultiLock(client, Arrays.asList("/l/a", "/l/b", "/l/c")), many, 4));
        System.out.println("multi-lock entries " + many.entries + " most " + many.most);
        Gauge readers = new Gauge();
        Gauge writers = new Gauge();
        AtomicInteger overlaps = new AtomicInteger();
        together("read-write lock", 9, (client, n) -> {
            InterProcessReadWriteLock lock = new InterProcessReadWriteLock(client, "/l/rw");
            for (int i = 0; i < 4; i++) {
                boolean writes = n % 3 == 0;
                InterProcessMutex mine = writes ? lock.writeLock() : lock.readLock();
                mine.acquire();
                (writes ? writers : readers).enter();
                if ((writes ? readers : writers).inside > 0) {
                    overlaps.incrementAndGet();
                }
                Thread.sleep(2);
                (writes ? writers : readers).leave();
                mine.release();
            }
        });
        System.out.println("writers most " + writers.most + " overlaps " + overlaps.get()
                + " entries " + (readers.entries + writers.entries));
    }

    static void semaphore() throws Exception {
        Gauge gauge = new Gauge();
        together("semaphore", 8, (client, n) -> {
            InterProcessSemaphoreV2 semaphore = new InterProcessSemaphoreV2(client, "/sem", 3);
            for (int i = 0; i < 4; i++) {
                Lease lease = semaphore.acquire();
                gauge.enter();
                Thread.sleep(3);
                gauge.leave();
                semaphore.returnLease(lease);
            }
        });
        System.out.println("semaphore entries " + gauge.entries
                + " at most 3 " + (gauge.most <= 3));
    }

    static void leaders() throws Exception {
        Gauge gauge = new Gauge();
        together("latch", 6, (client, n) -> {
            LeaderLatch latch = new LeaderLatch(client, "/latch", "id" + n);
            latch.start();
            if (!latch.await(40, TimeUnit.SECONDS)) {
                throw new IllegalStateException("never led");
            }
            gauge.enter();
            Thread.sleep(5);
            gauge.leave();
            latch.close();
        });
        System.out.println("latch leaders " + gauge.entries + " most " + gauge.most);
        Gauge chosen = new Gauge();
        together("selector", 6, (client, n) -> {
            CountDownLatch led = new CountDownLatch(2);
            LeaderSelector selector = new LeaderSelector(client, "/selector",
                    new LeaderSelectorListenerAdapter() {
                        @Override
                        public void takeLeadership(CuratorFramework c) throws Exception {
                            chosen.enter();
                            Thread.sleep(3);
                            chosen.leave();
                            led.countDown();
                        }
                    });
            selector.autoRequeue();
            selector.start();
            if (!led.await(40, TimeUnit.SECONDS)) {
                throw new IllegalStateException("never led twice");
            }
            selector.close();
        });
        System.out.println("selector each led " + (chosen.entries >= 12) + " most " + chosen.most);
    }

    static void counters() throws Exception {
        together("counter", 6, (client, n) -> {
            DistributedAtomicLong count =
                    new DistributedAtomicLong(client, "/count", new RetryNTimes(200, 2));
            for (int i = 0; i < 10; i++) {
                while (!count.increment().succeeded()) {
                    Thread.sleep(1);
                }
            }
        });
        try (CuratorFramework client = client(); CuratorFramework other = client()) {
            System.out.println("counter " + new DistributedAtomicLong(client, "/count",
                    new RetryNTimes(3, 10)).get().postValue());
            SharedCount mine = new SharedCount(client, "/shared", 7);
            SharedCount theirs = new SharedCount(other, "/shared", 7);
            mine.start();
            theirs.start();
            System.out.println("shared " + mine.getCount() + " set "
                    + mine.trySetCount(mine.getVersionedValue(), 8));
            await("shared seen by the other", () -> theirs.getCount() == 8);
            mine.close();
            theirs.close();
        }
    }

    static void barriers() throws Exception {
        try (CuratorFramework client = client()) {
            DistributedBarrier barrier = new DistributedBarrier(client, "/barrier");
            barrier.setBarrier();
            AtomicInteger passed = new AtomicInteger();
            Thread opener = new Thread(() -> {
                try {
                    Thread.sleep(300);
                    barrier.removeBarrier();
                } catch (Exception e) {
                    e.printStackTrace();
                }
            });
            opener.start();
            together("barrier", 6, (c, n) -> {
                if (new DistributedBarrier(c, "/barrier").waitOnBarrier(30, TimeUnit.SECONDS)) {
                    passed.incrementAndGet();
                }
            });
            System.out.println("barrier passed " + passed.get());
        }
        AtomicInteger both = new AtomicInteger();
        together("double barrier", 6, (c, n) -> {
            DistributedDoubleBarrier barrier = new DistributedDoubleBarrier(c, "/double", 6);
            boolean in = barrier.enter(30, TimeUnit.SECONDS);
            boolean out = barrier.leave(30, TimeUnit.SECONDS);
            if (in && out) {
                both.incrementAndGet();
            }
        });
        System.out.println("double barrier passed " + both.get());
    }

    static String text(ChildData data) {
        return data == null ? "none" : new String(data.getData());
    }

    @SuppressWarnings("deprecation")
    static void caches() throws Exception {
        try (CuratorFramework client = client(); CuratorFramework other = client()) {
            other.create().creatingParentsIfNeeded().forPath("/c/a", "1".getBytes());
            other.create().forPath("/c/b", "2".getBytes());
            PathChildrenCache children = new PathChildrenCache(client, "/c", true);
            children.start(PathChildrenCache.StartMode.BUILD_INITIAL_CACHE);
            NodeCache node = new NodeCache(client, "/c/a");
            node.start(true);
            TreeCache tree = new TreeCache(client, "/c");
            tree.start();
            CuratorCache cache = CuratorCache.build(client, "/c");
            cache.start();
            System.out.println("children " + children.getCurrentData().size() + " node "
                    + text(node.getCurrentData()));
            await("tree full", () -> tree.getCurrentData("/c/b") != null);
            await("cache full", () -> cache.size() == 3);
            for (int i = 0; i < 50; i++) {
                other.setData().forPath("/c/a", ("v" + i).getBytes());
                other.create().creatingParentsIfNeeded()
                        .forPath("/c/d/" + i, ("d" + i).getBytes());
            }
            other.delete().forPath("/c/b");
            await("children see the last", () -> text(children.getCurrentData("/c/a")).equals("v49")
                    && children.getCurrentData("/c/b") == null
                    && children.getCurrentData("/c/d") != null);
            await("node sees the last", () -> text(node.getCurrentData()).equals("v49"));
            await("tree sees the last", () -> text(tree.getCurrentData("/c/a")).equals("v49")
                    && "d49".equals(text(tree.getCurrentData("/c/d/49")))
                    && tree.getCurrentData("/c/b") == null);
            await("cache sees the last", () -> cache.size() == 53
                    && "v49".equals(text(cache.get("/c/a").orElse(null)))
                    && !cache.get("/c/b").isPresent());
            children.close(); // before the parent goes: this one would make it again
            node.close();
            tree.close();
            other.delete().deletingChildrenIfNeeded().forPath("/c");
            await("cache is empty", () -> cache.size() == 0);
            cache.close();
        }
    }

    static void nodes() throws Exception {
        try (CuratorFramework client = client(); CuratorFramework other = client()) {
            PersistentNode node = new PersistentNode(
                    client, CreateMode.EPHEMERAL, false, "/pn", "mine".getBytes());
            node.start();
            node.waitForInitialCreate(20, TimeUnit.SECONDS);
            long first = other.checkExists().forPath("/pn").getCzxid();
            other.delete().forPath("/pn");
            await("made again", () -> other.checkExists().forPath("/pn") != null
                    && other.checkExists().forPath("/pn").getCzxid() > first);
            node.close();
            await("gone when closed", () -> other.checkExists().forPath("/pn") == null);
            PersistentTtlNode ttl = new PersistentTtlNode(client, "/ttl", 2000, new byte[0]);
            ttl.start();
            ttl.waitForInitialCreate(20, TimeUnit.SECONDS);
            await("ttl node is touched", () -> {
                try {
                    return other.checkExists().forPath("/ttl") != null
                            && other.getChildren().forPath("/ttl").size() == 1;
                } catch (org.apache.zookeeper.KeeperException.NoNodeException e) {
                    return false;
                }
            });
            ttl.close();
            other.create().withTtl(60000).withMode(CreateMode.PERSISTENT_WITH_TTL).forPath("/t");
            Map<String, Integer> sizes = new TreeMap<>();
            sizes.put("/t", other.checkExists().forPath("/t").getDataLength() > 0 ? 1 : 0);
            System.out.println("ttl node made " + sizes);
            System.out.println("in a transaction " + other.transaction().forOperations(
                    other.transactionOp().create().forPath("/x1", new byte[0]),
                    other.transactionOp().setData().forPath("/x1", "y".getBytes()),
                    other.transactionOp().check().withVersion(1).forPath("/x1"),
                    other.transactionOp().delete().forPath("/x1")).size());
        }
    }

    public static void main(String[] words) throws Exception {
        address = words[0];
        locks();
        semaphore();
        leaders();
        counters();
        barriers();
        caches();
        nodes();
        System.exit(0);
    }
}
