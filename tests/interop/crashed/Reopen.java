import java.io.File;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.zookeeper.server.DataTree;
import org.apache.zookeeper.server.PurgeTxnLog;
import org.apache.zookeeper.server.persistence.FileTxnSnapLog;

/**
 * Reopen DIRECTORY...: reads each directory as a server does that starts, has the purge of snapshots
 * and logs run there, and reads it again. Prints a line for each: its name, then the last zxid and
 * the number of nodes as they were and as they are then; or "refused" and why.
 */
public final class Reopen {
    public static void main(String[] args) {
        for (String name : args) {
            String outcome;
            try {
                String before = read(name);
                PurgeTxnLog.purge(new File(name), new File(name), 3);
                outcome = before + " " + read(name);
            } catch (Throwable e) {
                outcome = "refused " + e;
            }
            System.out.println(name + " " + outcome.replace('\n', ' '));
        }
        System.exit(0);
    }

    private static String read(String name) throws Exception {
        FileTxnSnapLog files = new FileTxnSnapLog(new File(name), new File(name));
        DataTree tree = new DataTree();
        Map<Long, Integer> sessions = new ConcurrentHashMap<>();
        long zxid = files.restore(tree, sessions, (header, txn, digest) -> { });
        files.close();
        return zxid + " " + tree.getNodeCount();
    }
}
