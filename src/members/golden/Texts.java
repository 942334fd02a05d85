// What Apache makes of members' lines, recorded beside this file:
//   scripts/apache java 3.9.5 src/members/golden/Texts.java src/members/golden/texts.txt
// `#` opens a case and says its mode and settings, `>` is a line that is read, `<` one of the text
// that Apache writes, `~` one of the dynamic file, `=` a set of servers and whether it is a quorum,
// `!` why Apache refuses.

import java.io.File;
import java.io.PrintStream;
import java.io.StringReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Properties;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import org.apache.zookeeper.server.quorum.QuorumPeerConfig;
import org.apache.zookeeper.server.quorum.flexible.QuorumVerifier;

public class Texts {

    static PrintStream out;
    static File scratch;

    static final String[][] FIXED = {
        // Settings, then lines. d: read as a dynamic text, s: as a static file.
        {"d standalone", "server.1=127.0.0.1:2881:3881:participant;0.0.0.0:2181",
            "server.2=127.0.0.1:2882:3882:participant;0.0.0.0:2182", "version=100000000"},
        {"d standalone", "server.1=localhost:1:2", "server.2=LocalHost:3:4:OBSERVER;2181",
            "server.3=127.0.0.1:5:6: Participant ;127.0.0.1:2182"},
        {"d standalone", "server.1=[::1]:1:2;[::]:2181", "server.2=[2001:DB8::a0]:3:4:observer",
            "server.3=[::ffff:10.0.0.1]:5:6"},
        {"d standalone", "server.1=[::1:1:2", "server.2=a.invalid:1:2"},
        {"d standalone", "server.1=[::1]:", "server.2=a.invalid:1:2"},
        {"d standalone", "server.1=[::1]", "server.2=a.invalid:1:2"},
        {"d standalone", "server.1=[::1]:1", "server.2=a.invalid:1:2"},
        {"d standalone", "server.1=a.invalid:1:2|b.invalid:1:2", "server.2=c.invalid:1:2"},
        {"d standalone multi", "server.1=b.invalid:1:2|a.invalid:3:4;2181",
            "server.2=c.invalid:1:2:observer|d.invalid:1:2:observer;e.invalid:2182",
            "server.3=10.0.0.3:1:2|[::3]:1:2|10.0.0.20:1:2"},
        {"d standalone multi", "server.1=b.invalid:1:2|a.invalid:3:4:observer",
            "server.2=c.invalid:1:2", "server.3=d.invalid:1:2"},
        {"d standalone multi", "server.1=b.invalid:1:2:participant|a.invalid:3:4:observer",
            "server.2=c.invalid:1:2"},
        {"d standalone", "server.1=a.invalid:1", "server.2=b.invalid:1:2"},
        {"d standalone", "server.1=a.invalid:1:2:participant:x", "server.2=b.invalid:1:2"},
        {"d standalone", "server.1=a.invalid:1:2;1:2:3", "server.2=b.invalid:1:2"},
        {"d standalone", "server.1=a.invalid:1:2;1;2", "server.2=b.invalid:1:2"},
        {"d standalone", "server.1=a.invalid:1:2;", "server.2=b.invalid:1:2:;"},
        {"d standalone", "server.1=a.invalid:x:2", "server.2=b.invalid:1:2"},
        {"d standalone", "server.1=a.invalid:1:2 ", "server.2=b.invalid:1:2"},
        {"d standalone", "server.1=a.invalid:1:70000", "server.2=b.invalid:1:2"},
        {"d standalone", "server.1=a.invalid:-1:2", "server.2=b.invalid:1:2"},
        {"d standalone", "server.1=a.invalid:+7:0", "server.2=b.invalid:1:2"},
        {"d standalone", "server.1=a.invalid:2:2", "server.2=b.invalid:1:2"},
        {"d standalone", "server.1=a.invalid:1:2:boss", "server.2=b.invalid:1:2"},
        {"d standalone", "server.1=a.invalid:1:2;70000", "server.2=b.invalid:1:2"},
        {"d standalone", "server.x=a.invalid:1:2", "server.2=b.invalid:1:2"},
        {"d standalone", "server.=a.invalid:1:2"},
        {"d standalone", "server.1=", "server.2=b.invalid:1:2"},
        {"d standalone", "server.1=a.invalid:1:2", "server.2=b.invalid:1:2", "version=xyz"},
        {"d standalone", "server.1=a.invalid:1:2", "server.2=b.invalid:1:2", "version=-1"},
        {"d standalone", "server.1=a.invalid:1:2", "server.2=b.invalid:1:2",
            "version=ffffffffffffffff"},
        {"d standalone", "server.1=a.invalid:1:2", "server.2=b.invalid:1:2", "tickTime=2000"},
        {"d standalone", "server.1=a.invalid:1:2", "server.1=c.invalid:1:2",
            "server.2 = b.invalid:1:2", "# no line", "", "  server.3: d.invalid:1:2"},
        {"d standalone", "version=5"},
        {"d", "version=5"},
        {"d standalone", "server.1=a.invalid:1:2:observer"},
        {"d", "server.1=a.invalid:1:2:observer"},
        {"d standalone", "server.1=a.invalid:1:2"},
        {"d", "server.1=a.invalid:1:2"},
        {"d standalone", "server.1=a.invalid:1:2", "server.2=b.invalid:1:2:observer"},
        {"d", "server.1=a.invalid:1:2", "server.2=b.invalid:1:2:observer"},
        {"d standalone", "server.1=a.invalid:1:2", "server.2=b.invalid:1:2", "group.1=1"},
        {"d standalone", "server.1=a.invalid:1:2", "server.2=b.invalid:1:2", "group.1=1:2",
            "group.2=2"},
        {"d standalone", "server.1=a.invalid:1:2", "server.2=b.invalid:1:2", "group.1=1:2:2"},
        {"d standalone", "server.1=a.invalid:1:2", "server.2=b.invalid:1:2", "weight.1=1"},
        {"d standalone", "server.1=a.invalid:1:2", "server.2=b.invalid:1:2", "group.x=1:2"},
        {"d standalone", "server.1=a.invalid:1:2", "server.2=b.invalid:1:2", "groups=1:2"},
        {"d standalone", "server.1=a.invalid:1:2", "server.2=b.invalid:1:2", "group.1=1:b"},
        {"d standalone", "server.1=a.invalid:1:2", "server.2=b.invalid:1:2", "group.1="},
        {"d standalone", "server.1=a.invalid:1:2", "server.2=b.invalid:1:2", "group.1=1:2",
            "weight.1=x"},
        {"d standalone", "server.1=a.invalid:1:2", "server.2=b.invalid:1:2",
            "server.3=c.invalid:1:2:observer", "group.1=1:2:3", "weight.3=2", "weight.9=4"},
        {"d standalone", "server.1=a.invalid:1:2", "server.2=b.invalid:1:2", "group.1=1:2",
            "weight.1=0", "weight.2=0"},
        {"s standalone", "tickTime=2000", "server.1=a.invalid:1:2;2181", "dataDir=/d",
            "server.2=b.invalid:1:2", "version=1f"},
        {"e", "tickTime=2000", "dataDir=/d", "clientPort=2181", "clientPortAddress=127.0.0.1",
            "clientPortListenBacklog=9", "secureClientPort=2182", "server.1=a.invalid:1:2;2181",
            "group.1=1", "weight.1=1", "peerType=observer", "reconfigEnabled=true",
            "dynamicConfigFile=/old"},
        {"k", "tickTime=2000", "clientPort=2181", "clientPortAddress=127.0.0.1"},
    };

    public static void main(String[] args) throws Exception {
        out = new PrintStream(args[0], StandardCharsets.UTF_8);
        scratch = Files.createTempDirectory("texts").toFile();
        for (String[] fixed : FIXED) {
            List<String> lines = new ArrayList<>();
            for (int i = 1; i < fixed.length; i++) {
                lines.add(fixed[i]);
            }
            record(fixed[0], lines, new Random(lines.hashCode()));
        }
        for (int seed = 1; seed <= 160; seed++) {
            random(new Random(seed));
        }
        out.close();
    }

    static void random(Random random) throws Exception {
        List<String> lines = new ArrayList<>();
        boolean grouped = random.nextInt(3) == 0;
        boolean fixed = random.nextInt(3) == 0;
        Set<Long> ids = new TreeSet<>();
        int kind = random.nextInt(5);
        int count = 2 + random.nextInt(random.nextBoolean() ? 5 : 28);
        // Ids that meet in few buckets stay below the crowd that Java makes a tree of.
        count = kind == 2 || kind == 3 ? Math.min(count, 10) : count;
        while (ids.size() < count) {
            ids.add(id(random, kind, count));
        }
        List<Long> inGroups = new ArrayList<>();
        int voters = 0;
        for (long id : ids) {
            boolean observes = voters >= 2 && random.nextInt(4) == 0;
            voters += observes ? 0 : 1;
            String client = random.nextInt(3) == 0 ? ";" + (2000 + random.nextInt(99)) : "";
            lines.add("server." + id + "=" + host(random) + ":2888:3888"
                + (observes ? ":observer" : "") + client);
            boolean weighs = random.nextInt(3) == 0;
            if (grouped && weighs) {
                lines.add("weight." + id + "=" + random.nextInt(4));
            }
            if (!observes || weighs) {
                inGroups.add(id);
            }
        }
        if (grouped) {
            Collections.shuffle(inGroups, random);
            int groups = 1 + random.nextInt(5);
            List<List<String>> of = new ArrayList<>();
            for (int i = 0; i < groups; i++) {
                of.add(new ArrayList<>());
            }
            for (long id : inGroups) {
                of.get(random.nextInt(groups)).add("" + id);
            }
            int step = 1 + random.nextInt(20);
            for (int i = 0; i < groups; i++) {
                if (!of.get(i).isEmpty()) {
                    lines.add("group." + (i * step) + "=" + String.join(":", of.get(i)));
                }
            }
        }
        if (fixed) {
            for (String key : new String[] {"tickTime=2000", "initLimit=10", "syncLimit=5",
                "dataDir=/d", "clientPort=2181", "maxClientCnxns=60", "admin.enableServer=false",
                "4lw.commands.whitelist=*", "autopurge.snapRetainCount=3"}) {
                if (random.nextInt(3) > 0) {
                    lines.add(key);
                }
            }
        } else {
            lines.add("version=" + Long.toHexString(random.nextLong() >>> (1 + random.nextInt(63))));
        }
        if (random.nextBoolean()) {
            Collections.shuffle(lines, random);
        }
        record(fixed ? "s standalone" : "d standalone", lines, random);
    }

    static long id(Random random, int kind, int count) {
        switch (kind) {
            case 0: return 1 + random.nextInt(count);
            case 1: return random.nextInt(255);
            case 2: return 1 + 16L * random.nextInt(2 * count);
            case 3: return 100L * random.nextInt(2 * count);
            default: return random.nextLong() >> random.nextInt(60);
        }
    }

    static String host(Random random) {
        switch (random.nextInt(3)) {
            case 0: return "10.0.0." + random.nextInt(256);
            case 1: return "[fe80::" + Integer.toHexString(random.nextInt(65536)) + ":1]";
            default: return "192.168." + random.nextInt(256) + ".1";
        }
    }

    static void record(String settings, List<String> lines, Random random) throws Exception {
        out.println("#" + settings);
        lines.forEach(line -> out.println(">" + line));
        Properties properties = new Properties();
        properties.load(new StringReader(String.join("\n", lines)));
        if (settings.startsWith("e") || settings.startsWith("k")) {
            edit(lines, settings.startsWith("e"));
            return;
        }
        System.setProperty("zookeeper.multiAddress.enabled", "" + settings.contains("multi"));
        QuorumPeerConfig.setStandaloneEnabled(settings.contains("standalone"));
        boolean isStatic = settings.startsWith("s");
        QuorumVerifier verifier;
        try {
            verifier = QuorumPeerConfig.parseDynamicConfig(properties, 3, false, isStatic, null);
        } catch (IllegalArgumentException | QuorumPeerConfig.ConfigException e) {
            out.println("!" + e.getMessage());
            return;
        }
        verifier.toString().lines().forEach(line -> out.println("<" + line));
        File file = new File(scratch, "dynamic");
        QuorumPeerConfig.writeDynamicConfig(file.getPath(), verifier, false);
        Files.readString(file.toPath()).lines().forEach(line -> out.println("~" + line));
        List<Long> voters = new ArrayList<>(new TreeSet<>(verifier.getVotingMembers().keySet()));
        for (int i = 0; i < 6 && !voters.isEmpty(); i++) {
            Set<Long> acked = new TreeSet<>();
            int percent = 30 + random.nextInt(70);
            for (long id : voters) {
                if (random.nextInt(100) < percent) {
                    acked.add(id);
                }
            }
            boolean enough = verifier.containsQuorum(new HashSet<>(acked));
            out.println("=" + acked.toString().replaceAll("[\\[\\] ]", "") + " " + enough);
        }
    }

    static void edit(List<String> lines, boolean erase) throws Exception {
        File file = new File(scratch, "zoo.cfg");
        File dynamic = new File("/tmp");
        Files.writeString(file.toPath(), String.join("\n", lines));
        QuorumPeerConfig.editStaticConfig(file.getPath(), dynamic.getPath(), erase);
        Files.readString(file.toPath()).lines().sorted().forEach(line -> out.println("<" + line));
    }
}
