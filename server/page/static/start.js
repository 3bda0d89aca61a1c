// The page is painted first; its script comes then.
requestAnimationFrame(() => setTimeout(() => document.head.append(document.getElementById("later").content)));
