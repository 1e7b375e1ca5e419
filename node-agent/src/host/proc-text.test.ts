import { describe, expect, it } from "vitest";
import {
  cpuUtilizationPercent,
  localMounts,
  parseNetDev,
  parseProcStat,
  prettyName,
} from "./proc-text.ts";

describe("parseProcStat", () => {
  it("counts iowait as idle and interrupts and steal as busy", () => {
    const text = "cpu  100 10 50 800 20 5 5 10 33 0\ncpu0 1 2 3 4\nprocs_running 4\n";
    expect(parseProcStat(text)).toEqual({ cpu: { busy: 180, total: 1_000 }, running: 4 });
  });

  it("reads an old kernel's four columns", () => {
    expect(parseProcStat("cpu 1 2 3 4")).toEqual({ cpu: { busy: 6, total: 10 } });
  });

  it.each(["", "intr 1 2 3", "cpu one two", "cpu0 1 2 3 4"])("gives nothing for %j", (text) => {
    expect(parseProcStat(text)).toBeUndefined();
  });
});

describe("cpuUtilizationPercent", () => {
  it("is the busy share of the time between", () => {
    const share = cpuUtilizationPercent({ busy: 10, total: 100 }, { busy: 35, total: 200 });
    expect(share).toBe(25);
  });

  it("is absent when no time passed or the counters went back", () => {
    expect(cpuUtilizationPercent({ busy: 1, total: 9 }, { busy: 1, total: 9 })).toBeUndefined();
    expect(cpuUtilizationPercent({ busy: 5, total: 9 }, { busy: 1, total: 99 })).toBeUndefined();
  });
});

describe("parseNetDev", () => {
  it("reads both byte counters per interface, exactly", () => {
    const text = [
      "Inter-|   Receive                            |  Transmit",
      " face |bytes packets errs drop fifo frame compressed multicast|bytes packets",
      "    lo: 5 1 0 0 0 0 0 0 5 1 0 0 0 0 0 0",
      "  eth0:18446744073709551615 7 0 0 0 0 0 0 9007199254740993 3 0 0 0 0 0 0",
      "broken: 1 2",
    ].join("\n");
    const links = parseNetDev(text);
    expect([...links.keys()]).toEqual(["lo", "eth0"]);
    expect(links.get("eth0")).toEqual({
      receivedBytes: 18_446_744_073_709_551_615n,
      transmittedBytes: 9_007_199_254_740_993n,
    });
  });

  it("gives nothing for a file that is not there", () => {
    expect(parseNetDev("").size).toBe(0);
  });
});

describe("localMounts", () => {
  it("lists block devices and ZFS, each device once under its shortest mount point", () => {
    const text = [
      "proc /proc proc rw 0 0",
      "/dev/nvme0n1p2 /var/lib/kubelet/pods/x/volume ext4 rw 0 0",
      "/dev/nvme0n1p2 / ext4 rw 0 0",
      "/dev/loop3 /snap/core/1 squashfs ro 0 0",
      "overlay /var/lib/docker/overlay2/y overlay rw 0 0",
      "server:/export /home nfs4 rw 0 0",
      "tank/data /tank/data zfs rw 0 0",
      "/dev/sdb1 /mnt/two\\040words xfs rw 0 0",
      "garbage",
    ].join("\n");
    expect(localMounts(text)).toEqual([
      { device: "/dev/nvme0n1p2", mountPoint: "/", fileSystem: "ext4" },
      { device: "tank/data", mountPoint: "/tank/data", fileSystem: "zfs" },
      { device: "/dev/sdb1", mountPoint: "/mnt/two words", fileSystem: "xfs" },
    ]);
  });
});

describe("prettyName", () => {
  it("takes the name out of its quotes", () => {
    const text = 'NAME=Debian\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n';
    expect(prettyName(text)).toBe("Debian GNU/Linux 12 (bookworm)");
    expect(prettyName("PRETTY_NAME=Alpine\n")).toBe("Alpine");
  });

  it.each(["", 'PRETTY_NAME=""', "NAME=x"])("gives nothing for %j", (text) => {
    expect(prettyName(text)).toBeUndefined();
  });
});
